package policy

import (
	"bytes"
	"encoding/json"
)

// JSON writes the document in one fixed form without white space: Parse of it gives an equal document.
func (d *Document) JSON() string {
	w := &writer{}
	w.open('{')
	w.field("Version", d.Version)
	if d.ID != "" {
		w.field("Id", d.ID)
	}
	w.key("Statement")
	w.open('[')
	for i := range d.Statements {
		w.comma()
		w.statement(&d.Statements[i])
	}
	w.close(']')
	w.close('}')
	return w.b.String()
}

// writer builds JSON text.
type writer struct{ b bytes.Buffer }

func (w *writer) open(c byte)  { w.b.WriteByte(c) }
func (w *writer) close(c byte) { w.b.WriteByte(c) }

// comma separates from what stands before in the same object or list.
func (w *writer) comma() {
	switch b := w.b.Bytes(); b[len(b)-1] {
	case '{', '[', ':':
	default:
		w.b.WriteByte(',')
	}
}

func (w *writer) str(s string) {
	enc := json.NewEncoder(&w.b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)           // a string always has a form
	w.b.Truncate(w.b.Len() - 1) // the encoder's new line
}

func (w *writer) key(name string) {
	w.comma()
	w.str(name)
	w.b.WriteByte(':')
}

func (w *writer) field(name, value string) {
	w.key(name)
	w.str(value)
}

// list writes a list of one as a lone string, as most authors do.
func (w *writer) list(name string, values []string) {
	if values == nil {
		return
	}
	w.key(name)
	if len(values) == 1 {
		w.str(values[0])
		return
	}
	w.open('[')
	for _, v := range values {
		w.comma()
		w.str(v)
	}
	w.close(']')
}

func (w *writer) statement(s *Statement) {
	w.open('{')
	if s.Sid != "" {
		w.field("Sid", s.Sid)
	}
	w.field("Effect", s.Effect.String())
	w.principals("Principal", s.Principal)
	w.principals("NotPrincipal", s.NotPrincipal)
	w.list("Action", s.Action)
	w.list("NotAction", s.NotAction)
	w.list("Resource", s.Resource)
	w.list("NotResource", s.NotResource)
	if len(s.Condition) > 0 {
		w.key("Condition")
		w.open('{')
		for i := 0; i < len(s.Condition); {
			operator := s.Condition[i].Operator
			w.key(operator)
			w.open('{')
			for ; i < len(s.Condition) && s.Condition[i].Operator == operator; i++ {
				w.list(s.Condition[i].Key, s.Condition[i].Values)
			}
			w.close('}')
		}
		w.close('}')
	}
	w.close('}')
}

func (w *writer) principals(name string, p *Principals) {
	if p == nil {
		return
	}
	if p.Everyone {
		w.field(name, "*")
		return
	}
	w.key(name)
	w.open('{')
	w.list("AWS", p.AWS)
	w.list("Service", p.Service)
	w.list("Federated", p.Federated)
	w.list("CanonicalUser", p.CanonicalUser)
	w.close('}')
}
