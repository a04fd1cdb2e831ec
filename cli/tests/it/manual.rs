//! Completions and manual pages: whole, and valid where they go.

use std::fs;
use std::process::Command;

use super::Folder;

/// The words of the commands below `command` and the long flags that its help lists.
fn help(folder: &Folder, command: &[&str]) -> (Vec<String>, Vec<String>) {
    let ran = folder.run(&[command, &["--help"]].concat());
    assert_eq!(ran.code, 0, "{command:?}");
    let commands = ran.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let commands = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands = commands.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    let flags = ran.out.lines().filter(|line| line.trim_start().starts_with('-'));
    let flags = flags.flat_map(str::split_whitespace).filter(|word| word.starts_with("--"));
    let flags = flags.map(|flag| flag.trim_end_matches(',').to_owned());
    (commands.filter(|name| name != "help").collect(), flags.collect())
}

#[test]
fn there_is_a_page_for_each_command_with_each_of_its_flags() {
    let folder = Folder::new();
    let ran = folder.run(&["man", "pages/man1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut left = vec![Vec::<String>::new()];
    let mut pages = 0;
    while let Some(command) = left.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (commands, flags) = help(&folder, &words);
        let name = [&["bailiwick"], &words[..]].concat().join("-");
        let page = fs::read_to_string(folder.path(&format!("pages/man1/{name}.1"))).unwrap();
        assert!(page.contains(".TH"), "{name}");
        let page = page.replace("\\-", "-");
        for flag in flags {
            assert!(page.contains(&flag), "{name} does not mention {flag}");
        }
        pages += 1;
        left.extend(commands.into_iter().map(|word| [&command[..], &[word]].concat()));
    }
    assert_eq!(fs::read_dir(folder.path("pages/man1")).unwrap().count(), pages);
    assert!(pages > 15, "{pages}");
    let ran = folder.run(&["man", "pages/man1/bailiwick.1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("name a folder"), "{}", ran.err);
}

#[test]
fn bash_takes_its_completions_and_the_other_shells_have_theirs() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = folder.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}");
        for word in ["who-can", "deny-warnings", "completions"] {
            assert!(ran.out.contains(word), "{shell} does not know {word}");
        }
        folder.write(shell, &ran.out);
    }
    let syntax = Command::new("bash").arg("-n").arg(folder.path("bash")).status().unwrap();
    assert!(syntax.success());
    let script = "source ./bash; COMP_WORDS=(bailiwick acl wh); COMP_CWORD=2; \
                  _bailiwick bailiwick wh acl; echo \"${COMPREPLY[@]}\"";
    let ran = Command::new("bash").args(["-c", script]).current_dir(folder.path(".")).output();
    assert_eq!(String::from_utf8(ran.unwrap().stdout).unwrap(), "who-can what-can\n");
}
