package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stamp returns the version of the sources in a folder in the form of Go's pseudo-versions,
// from the time and the name of their commit, with "-dirty" if they differ from it. It
// returns nothing if the folder is not the root of a clone with such a commit.
//
// The replaced module is required in this version, which "caddy list-modules --versions"
// and "caddy offload version" then show. The go command does not ask for it, because the
// folder replaces it.
func stamp(ctx context.Context, folder string) string {
	root, err := git(ctx, folder, "rev-parse", "--show-toplevel")
	if err != nil || !sameFolder(root, folder) {
		return ""
	}
	if tag, err := git(ctx, folder, "describe", "--tags", "--exact-match", "--match=v*"); err == nil && !dirty(ctx, folder) {
		return tag
	}
	commit, err := git(ctx, folder, "log", "-1", "--format=%ct %H")
	if err != nil {
		return ""
	}
	seconds, hash, _ := strings.Cut(commit, " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(hash) < hashLetters {
		return ""
	}
	version := "v0.0.0-" + time.Unix(at, 0).UTC().Format("20060102150405") + "-" + hash[:hashLetters]
	if dirty(ctx, folder) {
		version += "-dirty"
	}
	return version
}

// hashLetters is the length of a commit's name in a pseudo-version.
const hashLetters = 12

func dirty(ctx context.Context, folder string) bool {
	changed, err := git(ctx, folder, "status", "--porcelain", "--untracked-files=no")
	return err != nil || changed != ""
}

// git returns the output of a git command in a folder.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...).Output()
	return strings.TrimSpace(string(out)), err
}

func sameFolder(a, b string) bool {
	a, errA := filepath.EvalSymlinks(a)
	b, errB := filepath.Abs(b)
	if errA != nil || errB != nil {
		return false
	}
	b, err := filepath.EvalSymlinks(b)
	return err == nil && a == b
}
