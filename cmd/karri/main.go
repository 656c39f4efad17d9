// Command karri is a private cloud that AWS clients cannot tell from AWS. See `karri --help`.
package main

import (
	"os"

	"karri.dev/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
