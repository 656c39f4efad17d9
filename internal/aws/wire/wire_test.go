package wire

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"karri.dev/internal/aws/awserr"
)

// sample is a struct as the generator makes them, small enough to see.
type sample struct {
	Name   string
	Count  *int
	Max    int
	Flag   *bool
	Values []string
	Parts  []part
	Sub    *part
}

type part struct {
	Key  string
	Size int64
}

func decodePart(d *Decoder, n *Node, v *part) {
	v.Key, v.Size = d.String(n.Take("Key")), d.Long(n.Take("Size"))
}

func decodeSample(member string) func(*Decoder, *Node, *sample) {
	return func(d *Decoder, n *Node, v *sample) {
		d.Require(n, "Max")
		v.Name, v.Count, v.Max = d.String(n.Take("Name")), d.IntPtr(n.Take("Count")), d.Int(n.Take("Max"))
		v.Flag = d.BoolPtr(n.Take("Flag"))
		v.Values = Scalars(d, n, "Value", member, d.String)
		v.Parts = List(d, n, "Part", member, decodePart)
		v.Sub = Struct(d, n, "Sub", decodePart)
	}
}

func TestForm(t *testing.T) {
	for _, tt := range []struct {
		form, code string
		want       *sample
	}{
		{"Action=X&Version=Y&X-Amz-Date=Z&Max=1", "", &sample{Max: 1}},
		{"Max=1&Count=0&Flag=FALSE&Name=", "", &sample{Max: 1, Count: new(0), Flag: new(false)}},
		{"Max=1&Value.10=c&Value.2=b&Value.0=a&Value.999=d", "", &sample{Max: 1, Values: []string{"a", "b", "c", "d"}}},
		{"Max=1&Value=", "", &sample{Max: 1, Values: []string{}}},
		{"Max=1&Part.1.Key=a&Part.1.Size=-9223372036854775808&Part.11.Key=c&Part.2.Key=b", "", &sample{Max: 1, Parts: []part{{"a", -1 << 63}, {"b", 0}, {"c", 0}}}},
		{"Max=1&Sub.Key=k", "", &sample{Max: 1, Sub: &part{Key: "k"}}},
		{"Name=x", "MissingParameter", nil},
		{"Max=", "InvalidParameterValue", nil},
		{"Max=1.0", "InvalidParameterValue", nil},
		{"Max=2147483648", "InvalidParameterValue", nil},
		{"Max=1&Flag=yes", "InvalidParameterValue", nil},
		{"Max=1&Max=2", "MalformedQueryString", nil},
		{"Max=1&name=x", "UnknownParameter", nil},
		{"Max=1&Name.1=x", "UnknownParameter", nil},
		{"Max=1&Value.01=x", "UnknownParameter", nil},
		{"Max=1&Value.-1=x", "UnknownParameter", nil},
		{"Max=1&Value.99999999999999999999=x", "UnknownParameter", nil},
		{"Max=1&Value=x", "UnknownParameter", nil},
		{"Max=1&Value.1.2=x", "UnknownParameter", nil},
		{"Max=1&Part.1.Other=x", "UnknownParameter", nil},
		{"Max=1&" + strings.Repeat("a.", 40) + "=x", "MalformedQueryString", nil},
	} {
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeForm(EC2, &Request{Form: form}, decodeSample(""))
		if awserr.Code(err) != tt.code {
			t.Errorf("%s: %v, want %s", tt.form, err, tt.code)
			continue
		}
		if tt.want != nil {
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.form, diff)
			}
		}
	}
}

func TestFormMessages(t *testing.T) {
	for form, want := range map[string]string{
		"Name=x":                  "The request must contain the parameter Max",
		"Max=1&Part.3.Size=big":   "Value (big) for parameter Part.3.Size is invalid. It is not a valid integer",
		"Max=1&Part.3.Colour=red": "The parameter Part.3.Colour is not recognized",
	} {
		values, _ := url.ParseQuery(form)
		_, err := DecodeForm(EC2, &Request{Form: values}, decodeSample(""))
		if e := awserr.From(err); e.Message != want {
			t.Errorf("%s: %s", form, e.Message)
		}
	}
	values, _ := url.ParseQuery("Max=1&Value.member.2=b&Value.member.1=a&Part.member.1.Key=k")
	got, err := DecodeForm(Query, &Request{Form: values}, decodeSample("member"))
	if diff := cmp.Diff(any(&sample{Max: 1, Values: []string{"a", "b"}, Parts: []part{{Key: "k"}}}), got); err != nil || diff != "" {
		t.Errorf("query: %v %s", err, diff)
	}
	_, err = DecodeForm(Query, &Request{Form: url.Values{}}, decodeSample("member"))
	if e := awserr.From(err); e.Code != "ValidationError" || !strings.Contains(e.Message, "Value null at 'max'") {
		t.Errorf("query: %v", err)
	}
}

func decodePayload(payload io.Reader, header http.Header, known ...string) (*sample, error) {
	type request struct{ Sample *sample }
	v, err := DecodeREST(RestXML, &Request{Header: header, Body: payload},
		func(h string) bool {
			for _, k := range known {
				if k == h {
					return true
				}
			}
			return false
		},
		func(d *Decoder, v *request) { v.Sample = Payload(d, "Sample", true, decodeSample("")) })
	if err != nil {
		return nil, err
	}
	return v.(*request).Sample, nil
}

func TestPayload(t *testing.T) {
	deep := strings.Repeat("<Sub>", 50) + strings.Repeat("</Sub>", 50)
	for _, tt := range []struct {
		xml, code string
		want      *sample
	}{
		{`<?xml version="1.0"?><!-- c --><Sample xmlns="x" a="b"> <Max> 7 </Max>` + "\n<Flag>true</Flag></Sample>\n", "", &sample{Max: 7, Flag: new(true)}},
		{`<s:Sample xmlns:s="x"><s:Max>7</s:Max><s:Name>a&amp;b<![CDATA[<c>]]><!-- d -->e</s:Name></s:Sample>`, "", &sample{Max: 7, Name: "a&b<c>e"}},
		{`<Sample><Part><Key>a</Key></Part><Max>1</Max><Part></Part><Sub/></Sample>`, "", &sample{Max: 1, Parts: []part{{Key: "a"}, {}}, Sub: &part{}}},
		{``, "MissingRequestBodyError", nil},
		{` `, "MalformedXML", nil},
		{`<Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max></Sample><Sample/>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max></Sample>x`, "MalformedXML", nil},
		{`<Sample><Max>1</Sample></Max>`, "MalformedXML", nil},
		{`<Other><Max>1</Max></Other>`, "MalformedXML", nil},
		{`<Sample><Max>x</Max></Sample>`, "MalformedXML", nil},
		{`<Sample></Sample>`, "MalformedXML", nil},
		{`<Sample>text<Max>1</Max></Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max>text</Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max><Max>2</Max></Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max><Unknown>2</Unknown></Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max>` + deep + `</Sample>`, "MalformedXML", nil},
		{`<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Sample><Name>&b;</Name><Max>1</Max></Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max><Name>&b;</Name></Sample>`, "MalformedXML", nil},
		{`<?xml version="1.0" encoding="UTF-16"?><Sample><Max>1</Max></Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max>` + strings.Repeat("<Part/>", maxXMLElements) + `</Sample>`, "MalformedXML", nil},
		{`<Sample><Max>1</Max><Name>` + strings.Repeat("x", maxXMLBytes) + `</Name></Sample>`, "MaxMessageLengthExceeded", nil},
	} {
		got, err := decodePayload(strings.NewReader(tt.xml), nil)
		if awserr.Code(err) != tt.code {
			t.Errorf("%.80s: %v, want %s", tt.xml, err, tt.code)
		} else if tt.want != nil {
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.xml, diff)
			}
		}
	}
}

// TestCommentsAreLinear would not end if text between comments were copied again for each.
func TestCommentsAreLinear(t *testing.T) {
	payload := `<Sample><Max>1</Max><Name>` + strings.Repeat("a<!---->", maxXMLBytes/8-20) + `</Name></Sample>`
	if got, err := decodePayload(strings.NewReader(payload), nil); err != nil || len(got.Name) != maxXMLBytes/8-20 {
		t.Error(err)
	}
}

func TestPayloadDigests(t *testing.T) {
	const payload = `<Sample><Max>1</Max></Sample>`
	for _, tt := range []struct{ header, value, code string }{
		{"X-Amz-Checksum-Crc32", "AAAAAA==", "BadDigest"},
		{"X-Amz-Checksum-Crc32", "AAAA", "InvalidDigest"},
		{"X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA=", "BadDigest"},
		{"X-Amz-Checksum-Sha256", "not base64", "InvalidDigest"},
		{"Content-Md5", "XUFAKrxLKna5cZ2REBfFkg==", "BadDigest"},
		{"X-Amz-Checksum-Sha512", "AAAA", "NotImplemented"},
		{"X-Amz-Object-Lock-Mode", "GOVERNANCE", "NotImplemented"},
		{"X-Amz-Date", "20260101T000000Z", ""},
	} {
		_, err := decodePayload(strings.NewReader(payload), http.Header{tt.header: {tt.value}})
		if awserr.Code(err) != tt.code {
			t.Errorf("%s: %v, want %s", tt.header, err, tt.code)
		}
	}
	// Of an operation that has the member, it is the object's checksum, not the payload's.
	if _, err := decodePayload(strings.NewReader(payload), http.Header{"X-Amz-Checksum-Crc32": {"AAAAAA=="}}, "x-amz-checksum-crc32"); err != nil {
		t.Error(err)
	}
	// The reader's own error, such as a wrong signature, is not an error of the XML.
	_, err := decodePayload(io.MultiReader(strings.NewReader(payload), failing{awserr.New("XAmzContentSHA256Mismatch", "no")}), nil)
	if awserr.Code(err) != "XAmzContentSHA256Mismatch" {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestText wants any text to be read back by an XML parser as it was, but for what XML cannot carry.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if rapid.Bool().Draw(t, "raw") {
			s = string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		}
		var got string
		if err := xml.Unmarshal(AppendString(nil, "x", s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
				return utf8.RuneError
			}
			return r
		}, s)
		if got != want {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func TestErrorAnswers(t *testing.T) {
	e := awserr.New("No<Such", "it & more").WithStatus(404).With("BucketName", "b").Because(errors.New("secret"))
	for p, want := range map[Protocol]string{
		EC2:     prolog + `<Response><Errors><Error><Code>No&lt;Such</Code><Message>it &amp; more</Message><BucketName>b</BucketName></Error></Errors><RequestID>id</RequestID></Response>`,
		Query:   `<ErrorResponse xmlns="ns"><Error><Type>Sender</Type><Code>No&lt;Such</Code><Message>it &amp; more</Message><BucketName>b</BucketName></Error><RequestId>id</RequestId></ErrorResponse>`,
		RestXML: prolog + `<Error><Code>No&lt;Such</Code><Message>it &amp; more</Message><BucketName>b</BucketName><RequestId>id</RequestId><HostId>host</HostId></Error>`,
		JSON:    `{"__type":"No\u003cSuch","message":"it \u0026 more"}`,
	} {
		w := &Response{RequestID: "id", Namespace: "ns", HostID: "host", Body: []byte("half an answer")}
		EncodeError(p, w, e)
		if string(w.Body) != want || w.Status != 404 || strings.Contains(string(w.Body), "secret") {
			t.Errorf("%d: %d %s", p, w.Status, w.Body)
		}
	}
	w := &Response{}
	EncodeError(RestXML, w, awserr.New("NotModified", "").WithStatus(304))
	if len(w.Body) != 0 || w.Status != 304 {
		t.Errorf("%d %s", w.Status, w.Body)
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<Sample><Max>1</Max><Part><Key>a</Key></Part></Sample>`))
	f.Add([]byte(`<!DOCTYPE a><Sample/>`))
	f.Add([]byte(`<Sample><![CDATA[`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := decodePayload(strings.NewReader(string(payload)), nil)
		if (v == nil) == (err == nil) {
			t.Fatalf("%v, %v", v, err)
		}
	})
}

// Clients see the names of x-amz-meta- headers as they were sent, so they must be AWS's.
func TestHeaderNamesAreAsAWSWritesThem(t *testing.T) {
	w := &Response{Header: http.Header{}}
	w.SetMap("x-amz-meta-", map[string]string{"color": "blue"})
	w.SetString("ETag", `"x"`)
	w.SetInt("x-amz-mp-parts-count", 2)
	w.SetString("x-amz-version-id", "")
	want := http.Header{"x-amz-meta-color": {"blue"}, "ETag": {`"x"`}, "x-amz-mp-parts-count": {"2"}}
	if diff := cmp.Diff(want, w.Header); diff != "" {
		t.Error(diff)
	}
}
