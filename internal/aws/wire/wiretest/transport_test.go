package wiretest

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"karri.dev/internal/aws/shape/ec2"
)

// TestLargeAnswers sends an answer of some hundred kB, many times, over a socket.
func TestLargeAnswers(t *testing.T) {
	const instances = 200
	answer := &ec2.DescribeInstancesResult{Reservations: make([]ec2.Reservation, 1)}
	for range instances {
		i := ec2.Instance{InstanceId: "i-é✓", Tags: []ec2.Tag{{Key: "key", Value: strings.Repeat("✓<&", 200)}}}
		answer.Reservations[0].Instances = append(answer.Reservations[0].Instances, i)
	}
	web := httptest.NewServer(&server{service: ec2.Service(), answer: answer})
	defer web.Close()
	cfg := config(nil)
	cfg.BaseEndpoint, cfg.HTTPClient = aws.String(web.URL), &http.Client{Transport: &Transport{}}
	client := awsec2.NewFromConfig(cfg)
	for n := range 50 {
		out, err := client.DescribeInstances(t.Context(), nil)
		if err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		if got := out.Reservations[0].Instances; len(got) != instances || !reflect.DeepEqual(got[0], got[instances-1]) {
			t.Fatalf("call %d: %d instances", n, len(got))
		}
	}
}
