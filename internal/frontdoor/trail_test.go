package frontdoor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"karri.dev/internal/audit"
	trailshape "karri.dev/internal/aws/shape/cloudtrail"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/page"
	"karri.dev/internal/seal"
	trail "karri.dev/internal/service/cloudtrail"
)

// Events over the JSON protocol, with AWS's own client.
func TestLookupEvents(t *testing.T) {
	recent := audit.NewRecent(100)
	c, ctx := newCloud(t, func(_ *frontdoor.Config, d *frontdoor.Deps) { d.Audit = audit.Both(d.Audit, recent) }), context.Background()
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	c.Register(trailshape.Service(), trail.New(recent, page.New(sealer)))
	c.serve(t)
	_, other, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := iam.NewFromConfig(c.config(c.key)).CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(fmt.Sprint("user", i))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := iam.NewFromConfig(c.config(other)).GetUser(ctx, &iam.GetUserInput{UserName: aws.String("nobody")}); err == nil {
		t.Fatal("no error")
	}
	mine, theirs := cloudtrail.NewFromConfig(c.config(c.key)), cloudtrail.NewFromConfig(c.config(other))
	by := func(k types.LookupAttributeKey, v string) *cloudtrail.LookupEventsInput {
		return &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: k, AttributeValue: &v}}}
	}
	in := by(types.LookupAttributeKeyEventName, "CreateUser")
	in.MaxResults = aws.Int32(2)
	var names []string
	pages := cloudtrail.NewLookupEventsPaginator(mine, in)
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Events {
			names = append(names, *e.Resources[0].ResourceName)
			if *e.Username != "root" || *e.EventSource != "iam.amazonaws.com" || time.Since(*e.EventTime) > time.Hour || !strings.Contains(*e.CloudTrailEvent, `"eventCategory":"Management"`) {
				t.Errorf("%+v", e)
			}
		}
	}
	if got := strings.Join(names, " "); got != "user2 user1 user0" {
		t.Error(got)
	}
	for name, tt := range map[string]struct {
		client *cloudtrail.Client
		in     *cloudtrail.LookupEventsInput
		want   string
	}{
		"resource":      {mine, by(types.LookupAttributeKeyResourceName, "user1"), "1"},
		"read only":     {theirs, by(types.LookupAttributeKeyReadOnly, "true"), "1"},
		"other account": {theirs, by(types.LookupAttributeKeyEventName, "CreateUser"), "0"},
		"user":          {mine, by(types.LookupAttributeKeyUsername, "bob"), "0"},
		"source":        {mine, by(types.LookupAttributeKeyEventSource, "iam.amazonaws.com"), "3"},
		"type":          {mine, by(types.LookupAttributeKeyResourceType, "AWS::IAM::User"), "3"},
		"other type":    {mine, by(types.LookupAttributeKeyResourceType, "AWS::IAM::Role"), "0"},
		"no such id":    {mine, by(types.LookupAttributeKeyEventId, "x"), "0"},
		"no such key":   {mine, by(types.LookupAttributeKeyAccessKeyId, "AKIANOSUCHKEYNOSUCHK"), "0"},
		"later":         {mine, &cloudtrail.LookupEventsInput{StartTime: aws.Time(time.Now().Add(time.Hour))}, "0"},
		"earlier":       {mine, &cloudtrail.LookupEventsInput{EndTime: aws.Time(time.Now().Add(-time.Hour))}, "0"},
		"too many":      {mine, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}, "InvalidMaxResultsException 400"},
		"bad token":     {mine, &cloudtrail.LookupEventsInput{NextToken: aws.String("x")}, "InvalidNextTokenException 400"},
		"backwards":     {mine, &cloudtrail.LookupEventsInput{StartTime: aws.Time(time.Now()), EndTime: aws.Time(time.Now().Add(-time.Hour))}, "InvalidTimeRangeException 400"},
		"insights":      {mine, &cloudtrail.LookupEventsInput{EventCategory: types.EventCategoryInsight}, "InvalidEventCategoryException 400"},
		"bad attribute": {mine, by("Colour", "blue"), "InvalidLookupAttributesException 400"},
		"wrong secret":  {cloudtrail.NewFromConfig(c.config(identity.Key{ID: c.key.ID, Secret: "x"})), &cloudtrail.LookupEventsInput{}, "InvalidSignatureException 400"},
		"wrong key":     {cloudtrail.NewFromConfig(c.config(identity.Key{ID: "AKIANOSUCHKEYNOSUCHK", Secret: "x"})), &cloudtrail.LookupEventsInput{}, "UnrecognizedClientException 400"},
	} {
		out, err := tt.client.LookupEvents(ctx, tt.in)
		got := code(err)
		if err == nil {
			got = fmt.Sprint(len(out.Events))
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	for body, want := range map[string]string{
		`{"Nonsense":1}`: "ValidationException", `[]`: "SerializationException", `{`: "SerializationException", `{"MaxResults":"x"}`: "SerializationException",
		`{"MaxResults":1,"MaxResults":2}`: "SerializationException", `{} {}`: "SerializationException", strings.Repeat(`{"a":`, 1000): "SerializationException",
	} {
		r := httptest.NewRequest("POST", "http://127.0.0.1/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "CloudTrail_20131101.LookupEvents")
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "cloudtrail", digestOf(body), time.Now())
		if w := c.do(r); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%.40s: %d %s, want %s", body, w.Code, w.Body, want)
		}
	}
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}
