package policy

import (
	"embed"
	"fmt"
	"strings"
)

// Our own documents with the effect of AWS's: the actions that AWS's policies of these names allow. ReadOnlyAccess
// covers the services of this cloud, present and planned, in place of AWS's hundreds.
//
//go:embed managed/*.json
var managedTexts embed.FS

// ManagedPolicy is a policy that belongs to the cloud ("arn:aws:iam::aws:policy/" + Name) and cannot be changed.
type ManagedPolicy struct {
	Name string
	Text string
	*Policy
}

// ManagedPrefix and a name make the ARN of a managed policy of the cloud.
const ManagedPrefix = "arn:aws:iam::aws:policy/"

// Managed parses the cloud's policies, in order of name. It is meant to be called once at start.
func Managed() ([]ManagedPolicy, error) {
	files, err := managedTexts.ReadDir("managed")
	if err != nil {
		return nil, err
	}
	var all []ManagedPolicy
	for _, f := range files {
		text, err := managedTexts.ReadFile("managed/" + f.Name())
		if err != nil {
			return nil, err
		}
		p, err := Parse(string(text), Identity)
		if err != nil {
			return nil, fmt.Errorf("managed policy %s: %w", f.Name(), err)
		}
		all = append(all, ManagedPolicy{strings.TrimSuffix(f.Name(), ".json"), string(text), p})
	}
	return all, nil
}

// IsManaged says whether an ARN is that of a policy of the cloud.
func IsManaged(arn string) bool {
	name, ok := strings.CutPrefix(arn, ManagedPrefix)
	if !ok || strings.ContainsAny(name, "./\\") {
		return false
	}
	f, err := managedTexts.Open("managed/" + name + ".json")
	if err != nil {
		return false
	}
	return f.Close() == nil
}
