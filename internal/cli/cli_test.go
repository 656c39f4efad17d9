package cli

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"karri": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// The command line as a user meets it: test/scripts holds one script a command.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "../../test/scripts"})
}
