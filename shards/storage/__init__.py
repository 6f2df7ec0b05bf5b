"""Where the files of a set lie: a folder or a URL, the local cache of a remote one, and files written in one step."""
