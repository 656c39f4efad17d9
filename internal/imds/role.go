package imds

import (
	"encoding/json"
	"fmt"
	"time"

	"karri.dev/internal/nodeapi"
)

// roleInfo is iam/info.
type roleInfo struct {
	Code       string
	LastUpdate string `json:"LastUpdated"`
	ARN        string `json:"InstanceProfileArn"`
	ID         string `json:"InstanceProfileId"`
}

// roleCredentials is iam/security-credentials/ROLE.
type roleCredentials struct {
	Code            string
	LastUpdated     string
	Type            string `json:",omitempty"`
	AccessKeyId     string `json:",omitempty"`
	SecretAccessKey string `json:",omitempty"`
	Token           string `json:",omitempty"`
	Expiration      string `json:",omitempty"`
	Message         string `json:",omitempty"`
}

// putRole adds what an instance with a profile finds below iam/.
func putRole(put func(path, value string), r *nodeapi.Role) {
	if r == nil {
		return
	}
	text := func(v any) string {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(fmt.Sprintf("imds: encode the role: %v", err)) // strings always encode
		}
		return string(b)
	}
	at := r.IssuedAt.UTC().Format(time.RFC3339)
	code := "Success"
	if r.Problem != "" {
		code = r.Problem
	}
	put("iam/info", text(roleInfo{code, at, r.ProfileARN, r.ProfileID}))
	switch {
	case r.Name == "":
	case r.Problem != "":
		put("iam/security-credentials/"+r.Name, text(roleCredentials{
			Code: r.Problem, LastUpdated: at, Message: "EC2 cannot assume the role " + r.Name + ".  Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc.",
		}))
	default:
		put("iam/security-credentials/"+r.Name, text(roleCredentials{
			Code: code, LastUpdated: at, Type: "AWS-HMAC", AccessKeyId: r.AccessKeyID, SecretAccessKey: r.Secret, Token: r.Token,
			Expiration: r.ExpiresAt.UTC().Format(time.RFC3339),
		}))
	}
}
