// Package mail sends the cloud's few mails: through an SMTP server, or, while developing, into a folder.
package mail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	gomail "github.com/wneessen/go-mail"

	"karri.dev/internal/durable"
)

// Message is one mail of plain text.
type Message struct {
	To      string // one address
	Subject string
	Text    string
}

// Sender sends mails.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// SMTP sends through a server, always with TLS.
type SMTP struct {
	Host     string
	Port     int // 465 speaks TLS from the first byte, others STARTTLS
	User     string
	Password string // both empty: without authentication
	From     string
}

// build makes the mail itself.
func build(from string, m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	if err := msg.From(from); err != nil {
		return nil, fmt.Errorf("mail: sender: %w", err)
	}
	if err := msg.To(m.To); err != nil {
		return nil, fmt.Errorf("mail: recipient: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	return msg, nil
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := build(s.From, m)
	if err != nil {
		return err
	}
	options := []gomail.Option{gomail.WithPort(s.Port), gomail.WithTimeout(30 * time.Second), gomail.WithTLSPolicy(gomail.TLSMandatory)}
	if s.Port == 465 {
		options = append(options, gomail.WithSSL())
	}
	if s.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(s.Password))
	}
	client, err := gomail.NewClient(s.Host, options...)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail to %s by %s: %w", m.To, s.Host, err)
	}
	return nil
}

// Folder writes mails as files: TIME-ADDRESS.eml.
type Folder struct {
	Dir  string
	From string
	Now  func() time.Time
}

// Send implements Sender.
func (f *Folder) Send(_ context.Context, m Message) error {
	msg, err := build(f.From, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(f.Dir, ".mail-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err = msg.WriteTo(file); err != nil {
		file.Close()
		return err
	}
	if err := file.Sync(); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	name := f.Now().UTC().Format("20060102T150405.000000000") + "-" + filepath.Base(m.To) + ".eml"
	if err := os.Rename(file.Name(), filepath.Join(f.Dir, name)); err != nil {
		return err
	}
	return durable.SyncDir(f.Dir)
}
