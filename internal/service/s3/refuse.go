package s3

import (
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
)

// Parameters that mean something we do not do yet are refused, as AWS does where it has an answer. Those that
// change nothing are let pass, and these are all of them:
//
//	x-amz-storage-class: STANDARD                   what every object has
//	x-amz-mfa                                       no bucket has MFA delete
//	x-amz-bypass-governance-retention               where nothing is locked
//	x-amz-optional-object-attributes: RestoreStatus no object is archived

// writing gathers the parameters that requests which write an object share.
type writing struct {
	acl          string
	grants       grantHeaders
	sse          string
	kms          []string
	bucketKey    *bool
	customer     []string // SSE-C
	customerKey  []byte
	class        string
	redirect     string
	tagging      string
	lockMode     string
	lockUntil    time.Time
	legalHold    string
	requestPayer string
}

func (w writing) check() error {
	if _, err := w.key(); err != nil {
		return err
	}
	switch w.sse {
	case "", aes256:
	case "aws:kms", "aws:kms:dsse", "aws:fsx":
		return notImplemented("x-amz-server-side-encryption")
	default:
		return invalidArgument("x-amz-server-side-encryption", w.sse, "The encryption method specified is not supported")
	}
	if slices.ContainsFunc(w.kms, notEmpty) || w.bucketKey != nil && *w.bucketKey {
		return invalidArgument("x-amz-server-side-encryption", w.sse, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
	}
	switch w.class {
	case "", "STANDARD":
	case "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP":
		return notImplemented("x-amz-storage-class")
	default:
		return awserr.New("InvalidStorageClass", "The storage class you specified is not valid").With("StorageClassRequested", w.class)
	}
	if !validRedirect(w.redirect) {
		return awserr.New("InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	return checkPayer(w.requestPayer)
}

func checkPayer(payer string) error {
	if payer != "" && payer != "requester" {
		return invalidArgument("x-amz-request-payer", payer, "Invalid value for x-amz-request-payer")
	}
	return nil
}

func checkAttributes(names []string) error {
	for _, n := range names {
		if n != "RestoreStatus" {
			return invalidArgument("x-amz-optional-object-attributes", n, "Invalid attribute name specified")
		}
	}
	return nil
}

func notEmpty(s string) bool { return s != "" }
