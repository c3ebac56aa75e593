use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn bytes_replace_what_is_there_and_leave_nothing_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("10-berth.conflist");
    for text in ["one", "two"] {
        bytes(&path, text.as_bytes(), 0o644).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(mode(&path), 0o644);
    assert_eq!(names(root.path()), ["10-berth.conflist"]);
}

#[test]
fn file_of_a_killed_run_is_no_hindrance_and_no_configuration() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("10-berth.conflist");
    let left = temporary(&path);
    fs::write(&left, "ha").unwrap();
    fs::write(root.path().join(".hidden"), "theirs").unwrap();
    bytes(&path, b"whole", 0o644).unwrap();
    assert_eq!(names(root.path()), [".hidden", "10-berth.conflist"]);
    fs::write(&left, "ha").unwrap();
    clean(root.path()).unwrap();
    assert_eq!(names(root.path()), [".hidden", "10-berth.conflist"]);
    assert!(!left.to_str().unwrap().ends_with("conflist"));
    clean(&root.path().join("absent")).unwrap();
}

#[test]
fn same_program_is_left_alone_and_another_replaces_it() {
    let root = tempfile::tempdir().unwrap();
    let (source, path) = (root.path().join("source"), root.path().join("berth"));
    fs::write(&source, vec![7; 200_000]).unwrap();
    assert!(program(&source, &path).unwrap());
    let first = fs::metadata(&path).unwrap().ino();
    assert!(!program(&source, &path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().ino(), first);
    assert_eq!(mode(&path), 0o755);
    // Same length, another byte at the end.
    let mut other = vec![7; 200_000];
    other[199_999] = 8;
    fs::write(&source, &other).unwrap();
    assert!(program(&source, &path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), other);
    // Right bytes, wrong mode.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(program(&source, &path).unwrap());
    assert_eq!(mode(&path), 0o755);
}

#[test]
fn missing_program_is_named_and_what_is_there_stays() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("berth");
    fs::write(&path, "old").unwrap();
    let error = program(&root.path().join("gone"), &path).unwrap_err();
    assert!(matches!(error, PlaceFileError::Read { .. }), "{error}");
    assert!(error.to_string().contains("gone"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn link_replaces_a_file_of_its_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("berth-ipam");
    fs::write(&path, "an older copy").unwrap();
    assert!(link(Path::new("berth"), &path).unwrap());
    assert!(!link(Path::new("berth"), &path).unwrap());
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("berth"));
    assert_eq!(names(root.path()), ["berth-ipam"]);
}

#[test]
fn copy_keeps_mode_and_time_and_a_link_stays_a_link() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    fs::write(&from, "theirs").unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o600)).unwrap();
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    File::open(&from).unwrap().set_modified(then).unwrap();
    copy(&from, &to).unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "theirs");
    assert_eq!(mode(&to), 0o600);
    assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), then);

    let pointer = root.path().join("pointer");
    symlink("elsewhere/file", &pointer).unwrap();
    copy(&pointer, &to).unwrap();
    assert_eq!(fs::read_link(&to).unwrap(), Path::new("elsewhere/file"));
}

#[test]
fn folder_that_is_a_file_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let inside = root.path().join("file/berth");
    assert!(bytes(&inside, b"x", 0o644).is_err());
    assert!(ensure_folder(&root.path().join("file")).is_err());
}
