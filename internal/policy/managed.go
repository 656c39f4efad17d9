package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Our own documents with the effect of AWS's: the actions that AWS's policies of these names allow. ReadOnlyAccess
// covers the services of this cloud, present and planned, in place of AWS's hundreds.
//
//go:embed managed
var managedTexts embed.FS

// ManagedPolicy is a policy that belongs to the cloud and cannot be changed.
type ManagedPolicy struct {
	Name string
	Path string // "/", "/job-function/", or "/aws-service-role/" of those that only service-linked roles have
	Text string
	*Policy
}

// ARN is the policy's name in the whole of AWS.
func (m *ManagedPolicy) ARN() string { return managedPrefix + m.Path + m.Name }

const (
	managedPrefix = "arn:aws:iam::aws:policy"
	// ManagedPrefix and a name make the ARN of a managed policy of the cloud without a path.
	ManagedPrefix = managedPrefix + "/"
	// ServiceRolePath is where the policies are that nobody can attach.
	ServiceRolePath = "/aws-service-role/"
)

// Managed parses the cloud's policies, in order of path and name. It is meant to be called once at start.
func Managed() (all []ManagedPolicy, err error) {
	err = fs.WalkDir(managedTexts, "managed", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := managedTexts.ReadFile(file)
		if err != nil {
			return err
		}
		p, err := Parse(string(text), Identity)
		if err != nil {
			return fmt.Errorf("managed policy %s: %w", file, err)
		}
		dir, name := path.Split(strings.TrimPrefix(file, "managed"))
		all = append(all, ManagedPolicy{strings.TrimSuffix(name, ".json"), dir, string(text), p})
		return nil
	})
	return all, err
}

// Attachable says that an ARN is that of a policy of the cloud which accounts may attach.
func Attachable(arn string) bool {
	return IsManaged(arn) && !strings.HasPrefix(arn, managedPrefix+ServiceRolePath)
}

// IsManaged says whether an ARN is that of a policy of the cloud.
func IsManaged(arn string) bool {
	name, ok := strings.CutPrefix(arn, ManagedPrefix)
	if !ok || strings.ContainsAny(name, ".\\") {
		return false
	}
	f, err := managedTexts.Open("managed/" + name + ".json")
	if err != nil {
		return false
	}
	return f.Close() == nil
}
