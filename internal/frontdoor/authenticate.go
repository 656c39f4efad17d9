package frontdoor

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/identity"
	"karri.dev/internal/session"
)

// authenticate checks the signature and notes the caller; payload is the digest that the client should have
// signed. Without a signature the caller stays anonymous.
func (x *exchange) authenticate(sig *sigv4.Signature, payload string) (*sigv4.Proof, error) {
	if sig == nil {
		return nil, nil
	}
	if err := x.checkScope(sig); err != nil {
		return nil, err
	}
	who, err := x.lookup(sig)
	if err != nil {
		return nil, err
	}
	if err := sig.CheckTime(x.info.Time); err != nil {
		return nil, x.refusal(sig, err)
	}
	req := &sigv4.Request{
		Method: x.r.Method, Path: sigv4.SignedPath(x.r.URL, sig.Service), Query: x.query, Host: x.r.Host,
		Header: x.r.Header, ContentLength: x.r.ContentLength, Payload: payload,
	}
	var proof *sigv4.Proof
	if sig.InHeader && !x.oldAllowed(who.Caller.AccountID) {
		return nil, x.refusal(sig, &sigv4.Error{Reason: sigv4.Unsupported, Message: "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."})
	}
	if sig.Old {
		path := x.r.URL.EscapedPath()
		if x.bucket != "" {
			path = "/" + x.bucket + path
		}
		err = sig.VerifyOld(req, path, x.info.Region, who.Secret)
	} else {
		proof, err = x.d.verifier.Verify(sig, req, who.Secret)
	}
	if err != nil {
		return nil, x.refusal(sig, err)
	}
	x.info.Caller = who.Caller
	x.signed(sig, payload)
	x.d.deps.Authenticator.Used(&x.info.Caller, sig.Service, x.info.Region, x.info.Time)
	return proof, nil
}

// signed notes how the request was signed.
func (x *exchange) signed(sig *sigv4.Signature, payload string) {
	s := &x.info.Signed
	s.Type, s.Version, s.Payload = "REST-HEADER", "AWS4-HMAC-SHA256", payload
	if sig.Presigned {
		s.Type, s.At = "REST-QUERY-STRING", sig.Time
	}
	if sig.Old {
		s.Version = "AWS"
	}
}

// lookup finds who a signature claims to be of.
func (x *exchange) lookup(sig *sigv4.Signature) (*identity.Principal, error) {
	who, err := x.d.deps.Authenticator.Lookup(sig.AccessKeyID, sig.Token, x.info.Time)
	switch {
	case errors.Is(err, identity.ErrBadToken):
		return nil, x.badToken(sig)
	case errors.Is(err, session.ErrExpired):
		return nil, x.expiredToken(sig)
	case err != nil:
		return nil, x.noSuchKey(sig)
	}
	return who, nil
}

// oldAllowed says whether an account may sign with Version 2 in headers and forms.
func (x *exchange) oldAllowed(account string) bool {
	b := x.buckets()
	return b != nil && (b.OldSignatures(account) || x.ownForm())
}

// checkScope refuses a credential that is scoped to another service or to a region that is not served.
func (x *exchange) checkScope(sig *sigv4.Signature) error {
	rest := x.service.Protocol == wire.RestXML
	switch {
	case sig.Service != x.info.Service:
		if rest {
			return awserr.New("AuthorizationHeaderMalformed", "The authorization header is malformed; incorrect service %q. This endpoint belongs to %q.", sig.Service, x.info.Service)
		}
		return x.refusal(sig, &sigv4.Error{Reason: sigv4.WrongScope, Message: "Credential should be scoped to correct service: '" + x.info.Service + "'. "})
	case (sig.Old || sig.Region == x.info.Region) && x.d.knowsRegion(x.info.Region):
		return nil
	case rest:
		return awserr.New("AuthorizationHeaderMalformed", "The authorization header is malformed; the region '%s' is wrong; expecting '%s'", sig.Region, x.home()).With("Region", x.home())
	}
	return x.refusal(sig, &sigv4.Error{Reason: sigv4.WrongScope, Message: "Credential should be scoped to a valid region. "})
}

// home is the region that a client should have named.
func (x *exchange) home() string {
	if x.d.knowsRegion(x.info.Region) {
		return x.info.Region
	}
	return x.d.Region()
}

// authFailure is EC2's one answer to whatever is wrong with credentials.
func authFailure() *awserr.Error {
	return awserr.New("AuthFailure", "AWS was not able to validate the provided access credentials").WithStatus(401)
}

func (x *exchange) noSuchKey(sig *sigv4.Signature) error {
	switch x.service.Protocol {
	case wire.RestXML:
		return awserr.New("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.").WithStatus(403).
			With("AWSAccessKeyId", sig.AccessKeyID)
	case wire.EC2:
		return authFailure()
	case wire.JSON, wire.RestJSON:
		return awserr.New("UnrecognizedClientException", "The security token included in the request is invalid.").WithStatus(x.refusedStatus())
	}
	return awserr.New("InvalidClientTokenId", "The security token included in the request is invalid.").WithStatus(403)
}

func (x *exchange) badToken(sig *sigv4.Signature) error {
	if x.service.Protocol == wire.RestXML {
		return awserr.New("InvalidToken", "The provided token is malformed or otherwise invalid.").With("Token-0", sig.Token)
	}
	return x.noSuchKey(sig)
}

func (x *exchange) expiredToken(sig *sigv4.Signature) error {
	switch x.service.Protocol {
	case wire.RestXML:
		return awserr.New("ExpiredToken", "The provided token has expired.").With("Token-0", sig.Token)
	case wire.EC2:
		return awserr.New("RequestExpired", "Request has expired.")
	case wire.JSON, wire.RestJSON:
		return awserr.New("ExpiredTokenException", "The security token included in the request is expired").WithStatus(x.refusedStatus())
	}
	return awserr.New("ExpiredToken", "The security token included in the request is expired").WithStatus(403)
}

// refusal says in the service's words why a signature was refused. sig is nil where it could not be read.
func (x *exchange) refusal(sig *sigv4.Signature, err error) error {
	var bad *sigv4.Error
	if !errors.As(err, &bad) {
		return err
	}
	var e *awserr.Error
	switch x.service.Protocol {
	case wire.RestXML:
		e = x.refuseS3(sig, bad)
	case wire.EC2:
		e = refuseEC2(bad)
	case wire.JSON, wire.RestJSON:
		e = refuseQuery(bad)
		switch e.Code {
		case "SignatureDoesNotMatch":
			e = awserr.New("InvalidSignatureException", "%s", e.Message).WithStatus(x.refusedStatus())
		case "IncompleteSignature", "RequestExpired":
			e = awserr.New(e.Code+"Exception", "%s", e.Message)
		}
	default:
		e = refuseQuery(bad)
	}
	return e.Because(err)
}

// refusedStatus is that of signatures that are wrong: 400 in the JSON protocol, 403 elsewhere.
func (x *exchange) refusedStatus() int {
	if x.service.Protocol == wire.JSON {
		return http.StatusBadRequest
	}
	return http.StatusForbidden
}

func refuseEC2(bad *sigv4.Error) *awserr.Error {
	switch bad.Reason {
	case sigv4.Skewed, sigv4.Expired, sigv4.NotYet:
		return awserr.New("RequestExpired", "Request has expired.")
	case sigv4.Incomplete, sigv4.QueryMalformed, sigv4.TwoMechanisms:
		return awserr.New("IncompleteSignature", "%s", bad.Message)
	}
	return authFailure()
}

func refuseQuery(bad *sigv4.Error) *awserr.Error {
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	switch bad.Reason {
	case sigv4.Incomplete, sigv4.QueryMalformed, sigv4.TwoMechanisms, sigv4.Unsupported:
		return awserr.New("IncompleteSignature", "%s", bad.Message)
	case sigv4.Skewed, sigv4.WrongScope:
		return awserr.New("SignatureDoesNotMatch", "%s", bad.Message).WithStatus(403)
	case sigv4.Expired, sigv4.NotYet:
		return awserr.New("RequestExpired", "%s", bad.Message)
	case sigv4.HeadersNotSigned:
		if len(bad.Names) > 0 && bad.Names[0] == "host" {
			return awserr.New("SignatureDoesNotMatch", "'Host' must be a 'SignedHeader' in the AWS Authorization.").WithStatus(403)
		}
		return awserr.New("SignatureDoesNotMatch", "Headers must be signed: %s", strings.Join(bad.Names, ", ")).WithStatus(403)
	}
	return awserr.New("SignatureDoesNotMatch", mismatch).WithStatus(403)
}

func (x *exchange) refuseS3(sig *sigv4.Signature, bad *sigv4.Error) *awserr.Error {
	const iso = "2006-01-02T15:04:05Z"
	now := x.info.Time.UTC()
	switch bad.Reason {
	case sigv4.Incomplete:
		return awserr.New("AuthorizationHeaderMalformed", "The authorization header is malformed; %s", bad.Message)
	case sigv4.QueryMalformed:
		return awserr.New("AuthorizationQueryParametersError", "%s", bad.Message)
	case sigv4.TwoMechanisms, sigv4.OldMalformed:
		return awserr.New("InvalidArgument", "%s", bad.Message).With("ArgumentName", "Authorization")
	case sigv4.Unsupported:
		return awserr.New("InvalidRequest", "%s", bad.Message)
	case sigv4.WrongScope:
		return awserr.New("AuthorizationHeaderMalformed", "The authorization header is malformed; %s", bad.Message)
	case sigv4.Skewed:
		e := awserr.New("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.").WithStatus(403)
		if sig != nil {
			e = e.With("RequestTime", sig.Time.UTC().Format("20060102T150405Z"))
		}
		return e.With("ServerTime", now.Format(iso)).With("MaxAllowedSkewMilliseconds", strconv.FormatInt(sigv4.MaxSkew.Milliseconds(), 10))
	case sigv4.Expired, sigv4.NotYet:
		e := awserr.New("AccessDenied", "%s", bad.Message).WithStatus(403)
		if sig != nil {
			e = e.With("X-Amz-Expires", strconv.FormatInt(int64(sig.Expires/time.Second), 10)).With("Expires", sig.Time.Add(sig.Expires).Format(iso))
		}
		return e.With("ServerTime", now.Format(iso))
	case sigv4.NotAllowed:
		return awserr.New("AccessDenied", "%s", bad.Message).WithStatus(403)
	case sigv4.HeadersNotSigned:
		return awserr.New("AccessDenied", "There were headers present in the request which were not signed").WithStatus(403).
			With("HeadersNotSigned", strings.Join(bad.Names, ", "))
	}
	e := awserr.New("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.").WithStatus(403)
	if sig != nil {
		e = e.With("AWSAccessKeyId", sig.AccessKeyID).With("StringToSign", bad.StringToSign).With("SignatureProvided", sig.Hex).With("CanonicalRequest", bad.CanonicalRequest)
	}
	return e
}
