package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"

	"karri.dev/internal/aws/awserr"
)

// Limits on XML payloads: 10,000 parts with their checksums fit.
const (
	maxXMLBytes    = 8 << 20
	maxXMLElements = 200_000
	maxXMLDepth    = 16
)

func malformedXML() *awserr.Error {
	return awserr.New("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

// parseXML makes the tree of a payload; nil when it is empty. Document types, and so all entities but
// the five of XML itself, are refused; attributes (but a grantee's type) and namespaces are ignored, as S3 does.
func parseXML(payload []byte, root string) (*Node, *awserr.Error) {
	if len(payload) == 0 {
		return nil, nil
	}
	dec := xml.NewDecoder(bytes.NewReader(payload))
	var top, at *Node
	var text []byte // of the element that is open, as long as it has no children
	depth, elements := 0, 0
	for {
		token, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, malformedXML().Because(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth, elements = depth+1, elements+1
			if depth > maxXMLDepth || elements > maxXMLElements || (at == nil && top != nil) || !blank(text) {
				return nil, malformedXML()
			}
			n := &Node{name: token.Name.Local, parent: at}
			n.kids = kindOf(token)
			if at == nil {
				top = n
			} else {
				at.kids = append(at.kids, n)
			}
			at, text = n, text[:0]
		case xml.EndElement:
			if at == nil || at.name != token.Name.Local {
				return nil, malformedXML()
			}
			if len(at.kids) == 0 {
				at.text, at.set = string(text), true
			}
			at, depth, text = at.parent, depth-1, text[:0]
		case xml.CharData:
			switch {
			case at != nil && len(at.kids) == 0:
				text = append(text, token...)
			case !blank(token):
				return nil, malformedXML()
			}
		case xml.Directive:
			return nil, malformedXML()
		}
	}
	if top == nil || at != nil || top.name != root {
		return nil, malformedXML()
	}
	top.used = true // <Delete/> is a struct without members
	return top, nil
}

// kindOf gives the one attribute that means something, the xsi:type of a Grantee, as a child.
func kindOf(e xml.StartElement) []*Node {
	if e.Name.Local != "Grantee" {
		return nil
	}
	for _, a := range e.Attr {
		if a.Name.Local == "type" && a.Name.Space != "" {
			return []*Node{{name: "xsi:type", text: a.Value, set: true}}
		}
	}
	return nil
}

func blank(text []byte) bool {
	for _, c := range text {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}
