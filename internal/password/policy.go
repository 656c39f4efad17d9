package password

import (
	"fmt"
	"strings"

	"karri.dev/internal/resource"
)

// symbols are what AWS takes for non-alphanumeric characters.
const symbols = "!@#$%^&*()_+-=[]{}|'"

// Default is the policy of an account that has none of its own; it wants three of the four classes besides.
var Default = resource.PasswordPolicy{MinLength: 8}

// Violations says in AWS's sense what is wrong with a password by an account's policy, nil for its default. names are
// those that a password must not be.
func Violations(p *resource.PasswordPolicy, password string, names ...string) (bad []string) {
	own := p != nil
	if !own {
		p = &Default
	}
	if len([]rune(password)) < p.MinLength {
		bad = append(bad, fmt.Sprintf("Password should have a minimum length of %d", p.MinLength))
	}
	between := func(low, high rune) bool {
		return strings.ContainsFunc(password, func(c rune) bool { return c >= low && c <= high })
	}
	classes := 0
	for _, class := range []struct {
		has, wanted bool
		what        string
	}{
		{between('A', 'Z'), p.Uppercase, "uppercase letter"},
		{between('a', 'z'), p.Lowercase, "lowercase letter"},
		{between('0', '9'), p.Numbers, "number"},
		{strings.ContainsAny(password, symbols), p.Symbols, "symbol"},
	} {
		switch {
		case class.has:
			classes++
		case class.wanted:
			bad = append(bad, "Password should have at least one "+class.what)
		}
	}
	if !own && classes < 3 {
		bad = append(bad, "Password should have characters of at least three of these types: uppercase letters, lowercase letters, numbers, symbols")
	}
	for _, name := range names {
		if name != "" && strings.EqualFold(name, password) {
			return append(bad, "Password should not be the account's name or e-mail address")
		}
	}
	return bad
}
