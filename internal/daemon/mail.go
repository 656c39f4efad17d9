package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/admin"
	"karri.dev/internal/mail"
	"karri.dev/internal/resource"
)

// sender makes what sends mails; nil: nothing does.
func (m Mail) sender() (mail.Sender, error) {
	switch {
	case m.From == "" && m.Admin == "" && m.Dir == "" && m.Server == "":
		return nil, nil
	case m.From == "" || m.Admin == "":
		return nil, errors.New("mails need --mail-from and --mail-admin")
	case (m.Dir == "") == (m.Server == ""):
		return nil, errors.New("mails need one of --smtp-server and --mail-dir")
	case m.Dir != "":
		return &mail.Folder{Dir: m.Dir, From: m.From, Now: time.Now}, nil
	}
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return nil, fmt.Errorf("--smtp-server: %w", err)
	}
	s := &mail.SMTP{Host: host, User: m.User, From: m.From}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("--smtp-server: %w", err)
	}
	if m.PasswordFile != "" {
		text, err := os.ReadFile(m.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("--smtp-password-file: %w", err)
		}
		s.Password = strings.TrimSpace(string(text))
	}
	return s, nil
}

// Decision is the administrator's word on a sign-up.
type Decision struct {
	ID     string
	Accept bool
}

var errNoSignUp = errors.New("this cloud takes no sign-ups: start it with --mail-from, --mail-admin and --smtp-server or --mail-dir")

// signUpMethods are those about sign-ups.
func (p *cloudProcess) signUpMethods() map[string]admin.Method {
	return map[string]admin.Method{
		"signup-list": admin.Handle(func(context.Context, struct{}) ([]resource.SignUp, error) {
			if p.role.SignUp == nil {
				return nil, errNoSignUp
			}
			return p.role.SignUp.List(), nil
		}),
		"signup-decide": admin.Handle(func(ctx context.Context, in Decision) (struct{}, error) {
			if p.role.SignUp == nil {
				return struct{}{}, errNoSignUp
			}
			return struct{}{}, p.role.SignUp.DecideID(ctx, in.ID, in.Accept)
		}),
	}
}
