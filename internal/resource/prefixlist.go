package resource

// PrefixList is a managed prefix list: CIDR blocks under a name, with versions.
type PrefixList struct {
	Owned
	ID         string              `json:"id"` // pl-…
	Name       string              `json:"name"`
	IPv6       bool                `json:"ipv6,omitempty"`
	MaxEntries int                 `json:"max_entries"` // what it counts for in rules and route tables
	Versions   []PrefixListVersion `json:"versions"`    // the present one is last
	State      string              `json:"state"`       // "create-complete", "modify-complete", …
	Token      string              `json:"token,omitempty"`
}

// PrefixListVersion is the list's entries at one time.
type PrefixListVersion struct {
	Number  int64         `json:"number"` // 1…
	Entries []PrefixEntry `json:"entries,omitempty"`
}

// PrefixEntry is one block of a prefix list.
type PrefixEntry struct {
	CIDR        string `json:"cidr"`
	Description string `json:"description,omitempty"`
}

// S3PrefixList is the id of the cloud's own list of S3's addresses, AWS's of us-east-1. S3Address is the one in it, where
// S3 is behind a gateway endpoint.
const (
	S3PrefixList = "pl-63a5400a"
	S3Address    = "169.254.169.251"
)

// Current gives the present version.
func (l *PrefixList) Current() PrefixListVersion { return l.Versions[len(l.Versions)-1] }
