//! A directory with anything wrong is not served, and the server says what and how to mend it.
