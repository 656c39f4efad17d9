package zone

import (
	"karri.dev/internal/instancerole"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// roleOf gives the credentials of an instance's role as its node needs them. What does not open is as good as none.
func roleOf(r store.Reader, inst *resource.Instance, key *seal.Sealer) *nodeapi.Role {
	c := store.InstanceCredentials.Get(r, inst.ID)
	if c == nil || key == nil || inst.ProfileID == "" || c.ProfileID != inst.ProfileID {
		return nil
	}
	out := &nodeapi.Role{
		ProfileARN: c.ProfileARN, ProfileID: c.ProfileID, Name: c.RoleName, Problem: c.Problem, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
	}
	if c.Problem != "" {
		return out
	}
	s, err := instancerole.Open(key, c)
	if err != nil {
		out.Problem = "AssumeRoleUnauthorizedAccess"
		return out
	}
	out.AccessKeyID, out.Secret, out.Token = s.AccessKeyID, s.Secret, s.Token
	return out
}
