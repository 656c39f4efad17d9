package filter

import (
	"regexp"
	"strings"
	"testing"

	"karri.dev/internal/aws/awserr"
	"pgregory.net/rapid"
)

type rec struct {
	id   string
	tags map[string]string
}

var set = Set[rec]{
	Fields: map[string]func(rec) []string{"id": func(r rec) []string { return []string{r.id} }},
	Never:  []string{"moon-phase"},
	Tags:   func(r rec) map[string]string { return r.tags },
}

func TestCompile(t *testing.T) {
	r := rec{"i-123", map[string]string{"Name": "web*1", "env": "prod"}}
	for _, c := range []struct {
		name string
		in   []Filter
		want bool
		code string
	}{
		{"exact", []Filter{{"id", []string{"i-123"}}}, true, ""},
		{"or", []Filter{{"id", []string{"x", "i-1*"}}}, true, ""},
		{"and", []Filter{{"id", []string{"i-*"}}, {"tag:env", []string{"dev"}}}, false, ""},
		{"case", []Filter{{"tag:env", []string{"PROD"}}}, false, ""},
		{"escaped", []Filter{{"tag:Name", []string{`web\*1`}}}, true, ""},
		{"tag-key", []Filter{{"tag-key", []string{"Na?e"}}}, true, ""},
		{"tag-value", []Filter{{"tag-value", []string{"prod"}}}, true, ""},
		{"never", []Filter{{"moon-phase", []string{"*"}}}, false, ""},
		{"unknown", []Filter{{"nope", []string{"x"}}}, false, "InvalidParameterValue"},
		{"nameless", []Filter{{"", []string{"x"}}}, false, "InvalidParameterValue"},
		{"valueless", []Filter{{"id", nil}}, false, "InvalidParameterValue"},
		{"many", []Filter{{"id", make([]string, 201)}}, false, "FilterLimitExceeded"},
	} {
		m, err := set.Compile(c.in)
		if awserr.Code(err) != c.code {
			t.Errorf("%s: error %v, want code %q", c.name, err, c.code)
			continue
		}
		if err == nil && m(r) != c.want {
			t.Errorf("%s: %v, want %v", c.name, m(r), c.want)
		}
	}
	if m, err := set.Compile(nil); m != nil || err != nil {
		t.Errorf("no filters: %v", err)
	}
}

// Glob agrees with the same pattern as a regular expression.
func TestGlobModel(t *testing.T) {
	letters := rapid.StringOfN(rapid.RuneFrom([]rune(`ab*?\é`)), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		p, v := letters.Draw(t, "pattern"), letters.Draw(t, "value")
		var re strings.Builder
		re.WriteString(`(?s)\A`)
		rs := []rune(p)
		for i := 0; i < len(rs); i++ {
			switch {
			case rs[i] == '*':
				re.WriteString(".*")
			case rs[i] == '?':
				re.WriteString(".")
			case rs[i] == '\\' && i+1 < len(rs):
				i++
				re.WriteString(regexp.QuoteMeta(string(rs[i])))
			default:
				re.WriteString(regexp.QuoteMeta(string(rs[i])))
			}
		}
		re.WriteString(`\z`)
		if want := regexp.MustCompile(re.String()).MatchString(v); Glob(p, v) != want {
			t.Fatalf("Glob(%q, %q) = %v", p, v, !want)
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?", "aXXbc")
	f.Add(strings.Repeat("*a", 50), strings.Repeat("a", 200))
	f.Add(`\`, `\`)
	f.Fuzz(func(t *testing.T, p, v string) { Glob(p, v) })
}
