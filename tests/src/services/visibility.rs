//! Private, restricted and nested services, several in a module, and in a function.

use bailiwick::{CallError, Context, rpc_service};

#[rpc_service(verb = "v", object = "o")]
trait Private {
    async fn f(&self, cx: &Context) -> Result<(), CallError>;
}

#[rpc_service(verb = "v", object = "o")]
trait Other {
    async fn f(&self, cx: &Context) -> Result<(), CallError>;
}

mod inner {
    use bailiwick::{CallError, Context, rpc_service};

    /// The error of a private module.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct Error;

    #[rpc_service(verb = "v", object = "o/{number}")]
    pub(super) trait Restricted {
        async fn f(&self, cx: &Context, number: super::Number) -> Result<(), CallError<Error>>;
    }

    pub(crate) mod deeper {
        use bailiwick::{CallError, Context, rpc_service};

        #[rpc_service(verb = "v", object = "o")]
        pub(in crate::services::visibility::inner) trait Deep {
            async fn f(&self, cx: &Context) -> Result<(), CallError<super::Error>>;
        }
    }

    pub(crate) fn deep() -> usize {
        deeper::DEEP.methods.len()
    }
}

type Number = u32;

struct Nothing;

impl Private for Nothing {
    async fn f(&self, _: &Context) -> Result<(), CallError> {
        Ok(())
    }
}

impl inner::Restricted for Nothing {
    async fn f(&self, _: &Context, _: Number) -> Result<(), CallError<inner::Error>> {
        Err(inner::Error)?
    }
}

macro_rules! service {
    ($name:ident, $argument:ident, $type:ty) => {
        #[rpc_service(verb = "v", object = "o")]
        trait $name {
            async fn f(&self, cx: &Context, $argument: $type) -> Result<$type, CallError>;
        }
    };
}

service!(FromAMacro, bytes, Vec<u8>);

/// Uses what nobody else can see; how many methods that is.
#[must_use]
pub fn hidden_methods() -> usize {
    #[rpc_service(verb = "v", object = "o")]
    trait Local {
        async fn f(&self, cx: &Context) -> Result<(), CallError>;
    }

    #[cfg(any())]
    #[rpc_service(verb = "v", object = "o")]
    trait Absent {
        async fn f(&self, cx: &Context) -> Result<(), CallError>;
    }

    #[rpc_service(verb = "v", object = "o")]
    #[cfg(any())]
    trait AbsentToo {
        async fn f(&self, cx: &Context) -> Result<(), CallError>;
    }

    let _ = PrivateServer::new(Nothing);
    let _ = inner::RestrictedServer::new(Nothing);
    LOCAL.methods.len() + OTHER.methods.len() + FROM_A_MACRO.methods.len() + inner::deep()
}
