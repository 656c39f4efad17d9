package authz

import (
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/denial"
	"karri.dev/internal/policy"
)

// Unsigned is what somebody hears who did not sign.
func Unsigned(p wire.Protocol) error {
	switch p {
	case wire.RestXML:
		return awserr.New("AccessDenied", "Access Denied").WithStatus(403)
	case wire.EC2:
		return awserr.New("AuthFailure", "AWS was not able to validate the provided access credentials").WithStatus(401)
	case wire.RestJSON:
		return awserr.New("MissingAuthenticationTokenException", "Request is missing Authentication Token").WithStatus(403)
	case wire.JSON:
		return awserr.New("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	return awserr.New("MissingAuthenticationToken", "Request is missing Authentication Token").WithStatus(403)
}

// refuse makes the answer of a refusal in the words of the service that was called.
func (e *Engine) refuse(a *Asking, d policy.Decision) error {
	message := d.Message(&a.request)
	if a.Info.Service != "ec2" || e.deps.Denials == nil {
		return awserr.New("AccessDenied", "%s", message).WithStatus(403)
	}
	encoded, err := e.deps.Denials.Encode(a.Info.AccountID, explanation(a, d))
	if err != nil {
		return err
	}
	return awserr.New("UnauthorizedOperation", "You are not authorized to perform this operation. %s. Encoded authorization failure message: %s", message, encoded).WithStatus(403)
}

// explanation is the content of an encoded message.
func explanation(a *Asking, d policy.Decision) *denial.Message {
	r := &a.request
	m := &denial.Message{ExplicitDeny: d.Reason.Explicit()}
	if d.Statement != nil {
		m.MatchedStatements.Items = append(m.MatchedStatements.Items, denial.Statement{
			StatementID: d.Statement.Sid, Effect: strings.ToUpper(d.Statement.Effect.String()), SourcePolicy: d.Reason.String(),
		})
	}
	m.Context = denial.Context{
		Principal: denial.Principal{ID: r.Principal.ID, ARN: r.Principal.ARN}, Action: r.Action.Name, Resource: r.Resource,
	}
	if r.Resource == "*" {
		m.Context.Resource = "arn:aws:" + a.Info.Service + ":" + a.Info.Region + ":" + a.Info.AccountID + ":*"
	}
	for _, key := range []string{
		"aws:SourceIp", "aws:RequestedRegion", "aws:UserAgent", "aws:SecureTransport", "aws:MultiFactorAuthPresent", "ec2:Region",
		"ec2:InstanceType", "ec2:CreateAction", "ec2:Vpc", "ec2:AvailabilityZone", "aws:TagKeys",
	} {
		v, ok := a.Value(policy.MakeKey(key))
		if !ok {
			continue
		}
		c := denial.Condition{Key: key}
		for _, text := range v.Texts() {
			c.Values.Items = append(c.Values.Items, denial.Value{Value: text})
		}
		m.Context.Conditions.Items = append(m.Context.Conditions.Items, c)
	}
	return m
}
