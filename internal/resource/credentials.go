package resource

import "time"

// InstanceCredentials are what an instance gets of its profile's role. The cloud makes them and renews them long
// before they end; the instance's zone opens them for its node.
type InstanceCredentials struct {
	InstanceID string    `json:"instance"`
	ProfileID  string    `json:"profile"`
	ProfileARN string    `json:"profile_arn"`
	RoleID     string    `json:"role"`
	RoleName   string    `json:"role_name"`
	IssuedAt   time.Time `json:"issued"`
	ExpiresAt  time.Time `json:"expires,omitzero"`
	Sealed     []byte    `json:"sealed,omitempty"`  // access key, secret and token, for zones; nil with a Problem
	Problem    string    `json:"problem,omitempty"` // why there are none, as the metadata service says it
}
