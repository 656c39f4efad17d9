package mail

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFolder(t *testing.T) {
	f := &Folder{Dir: filepath.Join(t.TempDir(), "mails"), From: "karri@example.com", Now: time.Now}
	if err := f.Send(context.Background(), Message{To: "bob@example.com", Subject: "Grüße", Text: "one\ntwo\n"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(f.Dir, "*-bob@example.com.eml"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(text), "To: <bob@example.com>") || !strings.Contains(string(text), "two") {
		t.Errorf("%s, %v", text, err)
	}
	for _, to := range []string{"", "nobody", "a@example.com\r\nBcc: b@example.com"} {
		if f.Send(context.Background(), Message{To: to}) == nil {
			t.Errorf("a mail to %q went out", to)
		}
	}
	// A server that is not there is an error, not a success.
	s := &SMTP{Host: "127.0.0.1", Port: 1, From: "karri@example.com"}
	if s.Send(context.Background(), Message{To: "bob@example.com", Text: "x"}) == nil {
		t.Error("sent without a server")
	}
}
