package cli

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"karri.dev/internal/login"
)

func loginCommand() *cobra.Command {
	var endpoint, account, user, code, ca string
	var life time.Duration
	var change, asJSON, root bool
	c := &cobra.Command{
		Use:   "login --account ALIAS --user NAME|--root",
		Short: "Get temporary credentials by password, and code of an MFA device",
		Long: `Asks for a user's password, and for the code of an MFA device if the user has one, and prints temporary
credentials: as lines for a shell, or with --json as the aws CLI wants them of a credential_process.

  eval "$(karri login --account ALIAS --user NAME)"

The password is read from standard input where that is no terminal.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := loginClient(ca)
			if err != nil {
				return err
			}
			if endpoint == "" {
				return errors.New("--endpoint or AWS_ENDPOINT_URL says where the cloud is")
			}
			ask := &asker{in: bufio.NewReader(c.InOrStdin()), out: c.ErrOrStderr()}
			form := url.Values{"account": {account}, "user": {user}, "code": {code}, "seconds": {strconv.Itoa(int(life / time.Second))}, "root": {strconv.FormatBool(root)}}
			form.Set("password", ask.secret("Password: "))
			if change {
				form.Set("new_password", ask.secret("New password: "))
			}
			a, err := logIn(client, endpoint, form)
			for err == nil && a.Code != "" {
				switch {
				case a.Code == login.NeedsCode && form.Get("code") == "":
					form.Set("code", ask.line("MFA code: "))
				case a.Code == login.NeedsNew && form.Get("new_password") == "":
					fmt.Fprintln(ask.out, a.Message)
					form.Set("new_password", ask.secret("New password: "))
					if form.Get("code") != "" { // each counts once
						form.Set("code", ask.line("Next MFA code: "))
					}
				default:
					return errors.New(a.Message)
				}
				if ask.err != nil {
					return ask.err
				}
				a, err = logIn(client, endpoint, form)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), struct {
					Version int
					login.Answer
				}{1, a})
			}
			fmt.Fprintf(c.OutOrStdout(), "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_SESSION_TOKEN=%s\nexport AWS_ENDPOINT_URL=%s\nunset AWS_PROFILE\n",
				a.AccessKeyID, a.SecretAccessKey, a.SessionToken, endpoint)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&endpoint, "endpoint", os.Getenv("AWS_ENDPOINT_URL"), "the cloud's API (or AWS_ENDPOINT_URL)")
	f.StringVar(&account, "account", "", "alias, name or id of the account")
	f.StringVar(&user, "user", "", "name of the user")
	f.StringVar(&code, "code", "", "what an MFA device of the user shows")
	f.StringVar(&ca, "ca", os.Getenv("AWS_CA_BUNDLE"), "certificates to trust (or AWS_CA_BUNDLE)")
	f.DurationVar(&life, "duration", 12*time.Hour, "how long the credentials are good for, 15m to 12h")
	f.BoolVar(&change, "new-password", false, "change the password")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&root, "root", false, "the account's root in place of a user")
	if err := c.MarkFlagRequired("account"); err != nil {
		panic(err) // it is there
	}
	c.MarkFlagsOneRequired("user", "root")
	c.MarkFlagsMutuallyExclusive("user", "root")
	return c
}

// loginClient trusts the cloud's own authority, and follows no redirects: a form with a password goes nowhere else.
func loginClient(ca string) (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if ca != "" {
		data, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: no certificate in it", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func logIn(c *http.Client, endpoint string, form url.Values) (a login.Answer, err error) {
	res, err := c.PostForm(strings.TrimSuffix(endpoint, "/")+login.Path, form)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&a); err != nil || (res.StatusCode == http.StatusOK) != (a.Code == "") {
		return a, fmt.Errorf("%s answers %s: is it a Karri cloud?", endpoint, res.Status)
	}
	return a, nil
}

// asker asks a person; the first error stays.
type asker struct {
	in  *bufio.Reader
	out io.Writer
	err error
}

func (a *asker) line(prompt string) string {
	fmt.Fprint(a.out, prompt)
	text, err := a.in.ReadString('\n')
	if err != nil && (text == "" || err != io.EOF) && a.err == nil {
		a.err = fmt.Errorf("%snothing was typed: %w", prompt, err)
	}
	return strings.TrimRight(text, "\r\n")
}

// secret asks without echo.
func (a *asker) secret(prompt string) string {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return a.line(prompt)
	}
	fmt.Fprint(a.out, prompt)
	text, err := term.ReadPassword(fd)
	fmt.Fprintln(a.out)
	if err != nil && a.err == nil {
		a.err = err
	}
	return string(text)
}
