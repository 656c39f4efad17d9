package s3

import (
	"encoding/json"
	"fmt"
	"strings"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Defaults are the ways in which an account's S3 differs from AWS's of today, so that older tools and suites can
// run. The administrator sets them; the zero value is AWS.
type Defaults struct {
	ACLs     bool `json:"acls,omitempty"`     // new buckets have ACLs on: no ownership controls
	Public   bool `json:"public,omitempty"`   // new buckets have no public access block
	Names    bool `json:"names,omitempty"`    // owners have a DisplayName
	SigV2    bool `json:"sigv2,omitempty"`    // Signature Version 2 in headers and forms, in every region
	Recreate bool `json:"recreate,omitempty"` // making one's own bucket again is an error in us-east-1, too

	Store string `json:"store,omitempty"` // where new buckets' bytes are; "" is the cloud's own
}

// ParseDefaults reads a list of the fields' names in JSON: "acls,sigv2"; "" is AWS's.
func ParseDefaults(list string) (Defaults, error) {
	var d Defaults
	for name := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(name), "=")
		if (value != "") != (name == "store") {
			return d, fmt.Errorf("S3 default %q: want store=NAME, and nothing like it elsewhere", name)
		}
		switch name {
		case "store":
			d.Store = value
		case "":
		case "acls":
			d.ACLs = true
		case "public":
			d.Public = true
		case "names":
			d.Names = true
		case "sigv2":
			d.SigV2 = true
		case "recreate":
			d.Recreate = true
		default:
			return d, fmt.Errorf("there is no S3 default %q: there are acls, public, names, sigv2, recreate and store=NAME", name)
		}
	}
	return d, nil
}

// Put stores an account's Defaults.
func (d Defaults) Put(tx *store.Tx, account string) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write the S3 defaults of account %s: %w", account, err)
	}
	return store.Settings.Put(tx, &resource.Setting{Name: DefaultsName(account), Value: string(text)})
}

// DefaultsName is the name of the setting that holds an account's Defaults.
func DefaultsName(account string) string { return "s3/defaults/" + account }

// Defaults gives those of an account.
func (s *Service) Defaults(r store.Reader, account string) (Defaults, error) {
	var d Defaults
	set := store.Settings.Get(r, DefaultsName(account))
	if set == nil {
		return d, nil
	}
	if err := json.Unmarshal([]byte(set.Value), &d); err != nil {
		return d, fmt.Errorf("read the S3 defaults of account %s: %w", account, err)
	}
	return d, nil
}

// OldSignatures says whether an account may still sign with Version 2 in headers and forms.
func (s *Service) OldSignatures(account string) bool {
	d, err := s.Defaults(s.store.Snapshot(), account)
	return err == nil && d.SigV2
}
