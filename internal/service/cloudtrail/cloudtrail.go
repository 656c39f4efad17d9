// Package cloudtrail serves what of AWS's CloudTrail looks at recent events. Every call is in the audit log; this
// finds the last management events that this process has seen.
package cloudtrail

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/audit"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/cloudtrail"
	"karri.dev/internal/page"
)

// Service implements the operations.
type Service struct {
	events *audit.Recent
	tokens *page.Tokens
}

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(events *audit.Recent, tokens *page.Tokens) *Service { return &Service{events, tokens} }

// mostResults is CloudTrail's page size.
const mostResults = 50

// LookupEvents finds the account's recent management events of the region, the newest first.
func (s *Service) LookupEvents(ctx context.Context, in *shape.LookupEventsRequest) (*shape.LookupEventsResult, error) {
	info := call.From(ctx)
	q := audit.Query{Account: info.AccountID, Region: info.Region, Start: in.StartTime, End: in.EndTime, Max: mostResults}
	if in.MaxResults != nil {
		if q.Max = *in.MaxResults; q.Max < 1 || q.Max > mostResults {
			return nil, awserr.New("InvalidMaxResultsException", "The MaxResults value must be between 1 and %d.", mostResults)
		}
	}
	switch {
	case !in.StartTime.IsZero() && !in.EndTime.IsZero() && in.EndTime.Before(in.StartTime):
		return nil, awserr.New("InvalidTimeRangeException", "The start time must be before the end time.")
	case in.EventCategory != "":
		return nil, awserr.New("InvalidEventCategoryException", "This cloud has no events of the category %.40s.", in.EventCategory)
	case len(in.LookupAttributes) > 1:
		return nil, awserr.New("InvalidLookupAttributesException", "You can specify only one lookup attribute.")
	}
	if len(in.LookupAttributes) == 1 {
		var err error
		if q.Match, err = matcher(in.LookupAttributes[0]); err != nil {
			return nil, err
		}
	}
	scope := []string{"LookupEvents", info.AccountID, info.Region}
	if in.NextToken != "" {
		text, err := s.tokens.Open(in.NextToken, scope...)
		if err == nil {
			q.Before, err = strconv.ParseUint(text, 10, 64)
		}
		if err != nil {
			return nil, awserr.New("InvalidNextTokenException", "The token is not valid.").Because(err)
		}
	}
	found, next := s.events.Find(q)
	out := &shape.LookupEventsResult{Events: make([]shape.Event, 0, len(found))}
	for _, e := range found {
		shown, err := show(e)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, shown)
	}
	if next != 0 {
		out.NextToken = s.tokens.Make(strconv.FormatUint(next, 10), scope...)
	}
	return out, nil
}

// matcher makes a function of a lookup attribute.
func matcher(a shape.LookupAttribute) (func(*audit.Event) bool, error) {
	v := a.AttributeValue
	switch a.AttributeKey {
	case shape.LookupAttributeKeyEventId:
		return func(e *audit.Event) bool { return e.EventID == v }, nil
	case shape.LookupAttributeKeyEventName:
		return func(e *audit.Event) bool { return e.Name == v }, nil
	case shape.LookupAttributeKeyEventSource:
		return func(e *audit.Event) bool { return e.Source == v }, nil
	case shape.LookupAttributeKeyReadOnly:
		return func(e *audit.Event) bool { return strconv.FormatBool(e.ReadOnly) == v }, nil
	case shape.LookupAttributeKeyUsername:
		return func(e *audit.Event) bool { return userName(e) == v }, nil
	case shape.LookupAttributeKeyAccessKeyId:
		return func(e *audit.Event) bool { return e.UserIdentity.AccessKeyID == v }, nil
	case shape.LookupAttributeKeyResourceName:
		return func(e *audit.Event) bool {
			return hasResource(e, func(r audit.Resource) bool { return r.Name == v || r.ARN == v && v != "" })
		}, nil
	case shape.LookupAttributeKeyResourceType:
		return func(e *audit.Event) bool { return hasResource(e, func(r audit.Resource) bool { return r.Type == v }) }, nil
	}
	return nil, awserr.New("InvalidLookupAttributesException", "The lookup attribute %.40s is not valid.", a.AttributeKey)
}

func hasResource(e *audit.Event, f func(audit.Resource) bool) bool {
	for _, r := range e.Resources {
		if f(r) {
			return true
		}
	}
	return false
}

// userName is what CloudTrail calls the user: for a session the name that it has.
func userName(e *audit.Event) string {
	u := e.UserIdentity
	switch u.Type {
	case "Root":
		return "root"
	case "AssumedRole", "FederatedUser":
		_, name, _ := strings.Cut(u.PrincipalID, ":")
		return name
	}
	return u.UserName
}

func show(e *audit.Event) (shape.Event, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return shape.Event{}, err
	}
	out := shape.Event{
		EventId: e.EventID, EventName: e.Name, ReadOnly: strconv.FormatBool(e.ReadOnly), AccessKeyId: e.UserIdentity.AccessKeyID,
		EventTime: e.Time.Truncate(time.Second), EventSource: e.Source, Username: userName(e), CloudTrailEvent: string(text), Resources: []shape.Resource{},
	}
	for _, r := range e.Resources {
		out.Resources = append(out.Resources, shape.Resource{ResourceType: r.Type, ResourceName: r.Name})
	}
	return out, nil
}
