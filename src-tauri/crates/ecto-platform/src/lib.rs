//! What differs by system: secret store, administrator prompt, opening links, folders.
