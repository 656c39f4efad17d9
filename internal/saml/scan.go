package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// What a document may have. Real ones stay far below; canonical XML of others costs their number times their depth.
const (
	maxDepth      = 64
	maxElements   = 4000
	maxAttributes = 64  // of an element
	maxNamespaces = 400 // declarations
)

// scan refuses documents that only an attacker sends, before anything else looks at them: with a document type (entities), with
// processing instructions, with comments where they could cut a name in two, or shaped to be slow.
func scan(text []byte, comments bool, elements int) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	depth, count, namespaces := 0, 0, 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 0 && count > 0 {
				return errors.New("the document has two roots")
			}
			depth++
			count++
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					namespaces++
				}
			}
			if depth > maxDepth || count > elements || len(t.Attr) > maxAttributes || namespaces > maxNamespaces {
				return errors.New("the document has too many parts")
			}
		case xml.EndElement:
			depth--
		case xml.Directive:
			return errors.New("the document has a document type")
		case xml.Comment:
			if !comments {
				return errors.New("the document has comments")
			}
		case xml.ProcInst:
			if t.Target != "xml" || count > 0 {
				return fmt.Errorf("the document has an instruction %q", t.Target)
			}
		}
	}
	if count == 0 {
		return errors.New("the document is empty")
	}
	return nil
}
