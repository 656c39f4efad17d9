package ec2

import (
	"regexp"
	"strings"

	"karri.dev/internal/aws/awserr"
)

func errDryRun() error {
	return awserr.New("DryRunOperation", "Request would have succeeded, but DryRun flag is set.").WithStatus(412)
}

func errMissing(parameter string) error {
	return awserr.New("MissingParameter", "The request must contain the parameter %s", parameter)
}

func errValue(value, parameter string) error {
	return awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", value, parameter)
}

func errCombination(format string, args ...any) error {
	return awserr.New("InvalidParameterCombination", format, args...)
}

func errUnsupported(format string, args ...any) error {
	return awserr.New("UnsupportedOperation", format, args...)
}

func errInstanceState(id, state string) error {
	return awserr.New("IncorrectInstanceState", "The instance '%s' is not in a state from which it can do this: it is '%s'.", id, state)
}

// idShape is what follows the prefix of a resource id.
var idShape = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{17})$`)

// wellFormed says whether id is prefix and 8 or 17 hex digits.
func wellFormed(prefix, id string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	return ok && idShape.MatchString(rest)
}

// oneOf checks a value against those allowed; "" is absent and passes.
func oneOf(parameter, value string, allowed ...string) error {
	if value == "" {
		return nil
	}
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return errValue(value, parameter)
}
