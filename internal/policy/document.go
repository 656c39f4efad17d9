package policy

// Document is a policy as its author wrote it. Lists keep their order; a lone string is a list of one.
type Document struct {
	Version    string // Version2008 when the text has none
	ID         string
	Statements []Statement
}

// Versions of the language. Policy variables exist in the second only.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Effect is what a statement does when it applies.
type Effect uint8

const (
	Allow Effect = iota + 1
	Deny
	Limit // Karri: a quota
)

// String gives the word of the language.
func (e Effect) String() string {
	switch e {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	case Limit:
		return "Limit"
	}
	return ""
}

// Statement is one statement. Of each pair X and NotX at most one is set.
type Statement struct {
	Sid    string
	Effect Effect

	Principal, NotPrincipal *Principals
	Action, NotAction       []string
	Resource, NotResource   []string
	Condition               []Condition // in the order of the text
}

// Principals is the value of Principal or NotPrincipal.
type Principals struct {
	Everyone bool // "*" in place of an object; {"AWS": "*"} means the same
	// ARNs, 12-digit accounts, unique ids, or "*".
	AWS []string
	// Names such as "vmie.amazonaws.com".
	Service []string
	// ARNs of SAML and OIDC providers, or well-known provider names.
	Federated []string
	// S3's 64 hex digits.
	CanonicalUser []string
}

// Condition is one operator with one key: {"StringEquals": {"aws:username": ["a", "b"]}}.
type Condition struct {
	Operator string   // as written: "ForAllValues:StringLikeIfExists"
	Key      string   // as written: "aws:RequestTag/Team"
	Values   []string // alternatives; JSON's booleans and numbers in their own words
}

// Kind is where a policy is used; it decides which elements it needs and which it must not have.
type Kind uint8

const (
	Identity Kind = iota + 1 // managed or inline, of users, groups and roles
	Boundary                 // a managed policy used as permissions boundary
	Session                  // given with AssumeRole, GetFederationToken …
	Resource                 // a bucket's policy
	Trust                    // a role's AssumeRolePolicyDocument
)

// Sizes in characters, white space not counted (IAM quotas page), but for BucketSize, which is in bytes
// with everything counted. The inline sizes are the sum over all inline policies of one entity.
const (
	ManagedSize     = 6144
	InlineUserSize  = 2048
	InlineRoleSize  = 10240
	InlineGroupSize = 5120
	TrustSize       = 2048
	SessionSize     = 2048
	BucketSize      = 20 << 10

	// MaxText bounds what Parse looks at, in bytes with white space: AWS's limit of the parameter PolicyDocument.
	MaxText = 131072
)

// Size counts the characters of a policy as IAM's quotas do: without white space.
func Size(text string) int {
	n := 0
	for _, r := range text {
		switch r {
		case ' ', '\t', '\n', '\r':
		default:
			n++
		}
	}
	return n
}
