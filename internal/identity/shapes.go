package identity

import (
	"strings"

	"karri.dev/internal/aws/awserr"
)

func invalid(format string, args ...any) error { return awserr.New("ValidationError", format, args...) }

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// CheckUserName applies IAM's rule for names of users.
func CheckUserName(name string) error {
	switch {
	case name == "":
		return invalid("1 validation error detected: Value at 'userName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case len(name) > 64:
		return invalid("1 validation error detected: Value at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64")
	case !only(name, func(c byte) bool { return word(c) || strings.IndexByte("+=,.@-", c) >= 0 }):
		return invalid("The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	}
	return nil
}

// CheckPath applies IAM's rule for paths: "/", or printable ASCII between slashes.
func CheckPath(path string) error {
	printable := func(c byte) bool { return c > ' ' && c < 0x7f }
	if path == "/" || len(path) > 2 && len(path) <= 512 && path[0] == '/' && path[len(path)-1] == '/' && only(path, printable) {
		return nil
	}
	return invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
}

// CheckAccountName applies AWS's rule for account aliases.
func CheckAccountName(name string) error {
	plain := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' }
	isID := len(name) == 12 && only(name, func(c byte) bool { return c >= '0' && c <= '9' })
	if len(name) < 3 || len(name) > 63 || !only(name, plain) || isID ||
		name[0] == '-' || name[len(name)-1] == '-' || strings.Contains(name, "--") {
		return invalid("An account's name has 3 to 63 lower-case letters, digits and single hyphens, and is not an account id: %q", name)
	}
	return nil
}

func checkKeyID(id string) error {
	if len(id) < 16 || len(id) > 128 || !only(id, word) {
		return invalid("An access key id has 16 to 128 letters, digits and underscores: %q", id)
	}
	return nil
}

func checkSecret(secret string) error {
	if len(secret) < 16 || len(secret) > 128 || !only(secret, func(c byte) bool { return c > ' ' && c < 0x7f }) {
		return invalid("A secret access key has 16 to 128 printable ASCII characters without spaces.")
	}
	return nil
}
