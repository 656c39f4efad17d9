package policy

import "unicode/utf8"

// Wildcards in compiled patterns. These bytes never occur in UTF-8, so a pattern is a plain string in which
// a literal "*" (from the text ${*}, or from the value of a variable) cannot be mistaken for a wildcard.
const (
	anyRun = 0xff // "*"
	anyOne = 0xfe // "?"
	segRun = 0xfd // "*" that stays within a segment of an ARN: not ":"
	segOne = 0xfc // "?" likewise

	firstWild = segOne
)

// glob matches the whole of s. Time is at most proportional to len(p)·len(s): of the runs passed, only the
// latest anyRun and the latest segRun after it are ever tried longer, and a segRun ends at a colon.
func glob[P string | []byte](p P, s string) bool {
	i, j := 0, 0
	run, runAt := -1, 0 // pattern after the latest anyRun, and where in s it resumes
	seg, segAt := -1, 0 // likewise segRun
	for {
		if i < len(p) {
			switch c := p[i]; c {
			case anyRun:
				i++
				if i == len(p) {
					return true
				}
				run, runAt, seg = i, j, -1
				continue
			case segRun:
				i++
				seg, segAt = i, j
				continue
			case anyOne, segOne:
				if j < len(s) && (c == anyOne || s[j] != ':') {
					i++
					j += width(s, j)
					continue
				}
			default:
				if j < len(s) && s[j] == c {
					i++
					j++
					continue
				}
			}
		} else if j == len(s) {
			return true
		}
		switch {
		case seg >= 0 && segAt < len(s) && s[segAt] != ':':
			segAt += width(s, segAt)
			i, j = seg, segAt
		case run >= 0 && runAt < len(s):
			runAt += width(s, runAt)
			i, j, seg = run, runAt, -1
		default:
			return false
		}
	}
}

// width is the length of the character at s[i].
func width(s string, i int) int {
	if s[i] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return n
}
