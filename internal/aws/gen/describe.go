package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// description is AWS's description of a service: the apis/*.min.json of the npm package aws-sdk (v2).
type description struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		Protocol     string `json:"protocol"`
		XMLNamespace string `json:"xmlNamespace"`
		JSONVersion  string `json:"jsonVersion"`
		TargetPrefix string `json:"targetPrefix"`
	} `json:"metadata"`
	Operations map[string]*operationShape `json:"operations"`
	Shapes     map[string]*shape          `json:"shapes"`
}

type operationShape struct {
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	AuthType string `json:"authtype"`
	Input    *shape `json:"input"`
	Output   *shape `json:"output"`
}

// shape is a type, or the use of one: then Ref names it and what is set here goes before what it says.
type shape struct {
	Ref             string   `json:"shape"`
	Type            string   `json:"type"` // "" is string
	Required        []string `json:"required"`
	Members         members  `json:"members"`
	Member          *shape   `json:"member"`
	Key             *shape   `json:"key"`
	Value           *shape   `json:"value"`
	LocationName    string   `json:"locationName"`
	Location        string   `json:"location"`
	QueryName       string   `json:"queryName"`
	Flattened       bool     `json:"flattened"`
	Streaming       bool     `json:"streaming"`
	XMLAttribute    bool     `json:"xmlAttribute"`
	Payload         string   `json:"payload"`
	ResultWrapper   string   `json:"resultWrapper"`
	TimestampFormat string   `json:"timestampFormat"`
}

type member struct {
	Name  string
	Shape *shape // nil: an addition that takes the member away
}

// members keeps the order of the description, which is the order of elements in answers.
type members []member

func (m *members) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var s *shape
		if err := dec.Decode(&s); err != nil {
			return err
		}
		*m = append(*m, member{name.(string), s})
	}
	return nil
}

// additions are what a service's folder says besides the description.
type additions struct {
	Description string // file in apis/, without .min.json
	Namespace   string // of answers, where the description does not say it
	Names       string // Go module whose declarations give structs and enums their names
	// Members are members by struct: new ones, other descriptions of old ones; null takes one away.
	Members map[string]members
	// Operations are amendments to operations, or operations newer than the description; with a Root the
	// name of the answer's root element, with Bare its only member is the root's text.
	Operations map[string]*operationAddition
	// Always lists members of answers ("Struct.Member") that are written even when empty, Optional
	// those that are left out when zero although they are numbers or booleans.
	Always, Optional []string
	// Pointers lists strings of which absent and empty mean different things.
	Pointers []string
	// Unsigned lists operations that nobody has to sign, which the description does not say.
	Unsigned []string
}

type operationAddition struct {
	operationShape
	Root string
	Bare bool
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// resolve gives the shape that a use stands for, with what the use says laid over it.
func (d *description) resolve(s *shape) (*shape, error) {
	if s.Ref == "" {
		return s, nil
	}
	base, ok := d.Shapes[s.Ref]
	if !ok {
		return nil, fmt.Errorf("no shape %q", s.Ref)
	}
	r := *base
	r.Ref = s.Ref
	r.LocationName, r.Location, r.QueryName = s.LocationName, s.Location, s.QueryName
	if r.LocationName == "" {
		r.LocationName = base.LocationName
	}
	r.Flattened = base.Flattened || s.Flattened
	r.Streaming = base.Streaming || s.Streaming
	return &r, nil
}
