package daemon

import (
	"fmt"
	"os"
	"strings"

	"karri.dev/internal/durable"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
)

// endpoint is what clients must know of the cloud.
type endpoint struct {
	url    string
	region string
	ca     []byte // PEM; nil where clients need none
	// bundles is the certificate for which users encrypt bundles, PEM.
	bundles []byte
}

// writeCredentials keeps the administrator's credentials in the forms that clients read.
func writeCredentials(dataDir string, e endpoint, account resource.Account, key identity.Key) (string, error) {
	dir := under(dataDir, "credentials", "admin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	var ca, exportCA string
	if e.ca != nil {
		path := under(dir, "ca.pem")
		ca = "ca_bundle = " + path + "\n"
		exportCA = "export AWS_CA_BUNDLE=" + quote(path) + "\n"
		if err := durable.WriteFile(path, e.ca, 0o644); err != nil {
			return "", err
		}
	}
	files := map[string]string{
		"cloud-cert.pem": string(e.bundles),
		"credentials":    fmt.Sprintf("[karri]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key.ID, key.Secret),
		"config":         fmt.Sprintf("[profile karri]\nregion = %s\nendpoint_url = %s\noutput = json\n%s", e.region, e.url, ca),
		"karrirc": fmt.Sprintf(`# Source this to be the administrator of the Karri cloud at %[1]s.
export KARRI_DATA_DIR=%[7]s
export AWS_CONFIG_FILE=%[6]s/config
export AWS_SHARED_CREDENTIALS_FILE=%[6]s/credentials
export AWS_PROFILE=karri
export AWS_ACCESS_KEY_ID=%[2]s
export AWS_SECRET_ACCESS_KEY=%[3]s
export AWS_DEFAULT_REGION=%[4]s AWS_REGION=%[4]s
export AWS_ENDPOINT_URL=%[1]s
export EC2_URL=%[1]s S3_URL=%[1]s EUARE_URL=%[1]s TOKEN_URL=%[1]s
export EC2_ACCESS_KEY=%[2]s EC2_SECRET_KEY=%[3]s
export EC2_ACCOUNT_NUMBER=%[5]s EC2_USER_ID=%[5]s
export EUCALYPTUS_CERT=%[6]s/cloud-cert.pem
%[8]s`, e.url, key.ID, quote(key.Secret), e.region, account.ID, quote(dir), quote(dataDir), exportCA),
	}
	for name, text := range files {
		if err := durable.WriteFile(under(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// quote makes a word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
