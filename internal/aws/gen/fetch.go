package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// sdkVersion is the npm package that has the description; its last line of versions, frozen in 2025.
const sdkVersion = "2.1693.0"

func defaultCache() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "karri", "aws-sdk-"+sdkVersion)
}

// fetch gives the folder of the description, which it gets from npm when the cache does not have it.
func fetch(cache string) (string, error) {
	apis := filepath.Join(cache, "package", "apis")
	if _, err := os.Stat(filepath.Join(apis, "metadata.json")); err == nil {
		return apis, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	for _, command := range [][]string{
		{"npm", "pack", "--silent", "aws-sdk@" + sdkVersion},
		{"tar", "xzf", "aws-sdk-" + sdkVersion + ".tgz", "package/apis"},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir, cmd.Stderr = cache, os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("fetching the description: %v: %w", command, err)
		}
	}
	return apis, nil
}
