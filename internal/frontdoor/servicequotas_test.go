package frontdoor_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas/types"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/servicequotas"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/page"
	"karri.dev/internal/quota"
	"karri.dev/internal/seal"
	quotas "karri.dev/internal/service/servicequotas"
	"karri.dev/internal/store"
)

// errCode gives the AWS error code of a client's error, "" for none.
func errCode(err error) string {
	if err == nil {
		return ""
	}
	word, _, _ := strings.Cut(code(err), " ")
	return word
}

// What AWS's own client hears of quotas is what holds, and a request for more counts once the administrator says so.
func TestServiceQuotas(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	keeper := quota.New(authz.New(authz.Deps{Store: c.store}))
	c.Register(shape.Service(), quotas.New(quotas.Deps{Store: c.store, Quotas: keeper, IDs: ids.New(nil), Tokens: page.New(sealer), Now: c.now}))
	c.serve(t)
	a, key, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "chemistry"})
	if err != nil {
		t.Fatal(err)
	}
	mine, admin := servicequotas.NewFromConfig(c.config(key)), servicequotas.NewFromConfig(c.config(c.key))

	services, err := mine.ListServices(ctx, nil)
	if err != nil || len(services.Services) != 5 || *services.Services[1].ServiceCode != "ec2" {
		t.Fatalf("%+v %v", services, err)
	}
	var got []string
	pages := servicequotas.NewListServiceQuotasPaginator(mine, &servicequotas.ListServiceQuotasInput{ServiceCode: aws.String("iam"), MaxResults: aws.Int32(2)})
	for n := 0; pages.HasMorePages(); n++ {
		p, err := pages.NextPage(ctx)
		if err != nil || len(p.Quotas) > 2 {
			t.Fatal(len(p.Quotas), err)
		}
		for _, q := range p.Quotas {
			got = append(got, *q.QuotaCode)
			if !q.GlobalQuota || *q.QuotaArn != "arn:aws:servicequotas::"+a.ID+":iam/"+*q.QuotaCode {
				t.Errorf("%+v", q)
			}
		}
	}
	if len(got) != 5 || !slices.IsSorted(got) {
		t.Error(got)
	}
	value := func(client *servicequotas.Client, service, code string) string {
		out, err := client.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: &service, QuotaCode: &code})
		if err != nil {
			return errCode(err)
		}
		return fmt.Sprint(*out.Quota.Value)
	}
	const vpcs, vcpus = "L-F678F1CE", "L-1216C47A"
	if err := c.store.Update(ctx, func(tx *store.Tx) error { return quota.Put(tx, a.ID, map[string]int64{"ec2:vpcnumber": 7}) }); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		got, want string
	}{
		{value(mine, "vpc", vpcs), "7"},
		{value(admin, "vpc", vpcs), "5"},
		{value(mine, "ec2", vcpus), fmt.Sprint(float64(quota.Unlimited))},
		{value(mine, "ec2", vpcs), "NoSuchResourceException"}, // of another service
		{value(mine, "lambda", vpcs), "NoSuchResourceException"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	def, err := mine.GetAWSDefaultServiceQuota(ctx, &servicequotas.GetAWSDefaultServiceQuotaInput{ServiceCode: aws.String("vpc"), QuotaCode: aws.String(vpcs)})
	if err != nil || *def.Quota.Value != 5 || *def.Quota.QuotaArn != "arn:aws:servicequotas:us-east-1::vpc/"+vpcs {
		t.Errorf("%+v %v", def, err)
	}

	// A request for more.
	ask := func(client *servicequotas.Client, n float64) (string, error) {
		out, err := client.RequestServiceQuotaIncrease(ctx, &servicequotas.RequestServiceQuotaIncreaseInput{ServiceCode: aws.String("vpc"), QuotaCode: aws.String(vpcs), DesiredValue: &n})
		if err != nil {
			return "", err
		}
		if out.RequestedQuota.Status != types.RequestStatusPending {
			t.Errorf("%+v", out.RequestedQuota)
		}
		return *out.RequestedQuota.Id, nil
	}
	for _, n := range []float64{7, 6, -1, 7.5, 1e300, math.Inf(1), math.NaN()} {
		if _, err := ask(mine, n); errCode(err) != "IllegalArgumentException" && errCode(err) != "SerializationException" {
			t.Errorf("%v: %v", n, err)
		}
	}
	id, err := ask(mine, 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(mine, 30); errCode(err) != "ResourceAlreadyExistsException" {
		t.Error(err)
	}
	if got := value(mine, "vpc", vpcs); got != "7" {
		t.Errorf("%s before the administrator has decided", got)
	}
	if _, err := admin.GetRequestedServiceQuotaChange(ctx, &servicequotas.GetRequestedServiceQuotaChangeInput{RequestId: &id}); errCode(err) != "NoSuchResourceException" {
		t.Errorf("another account's request: %v", err)
	}
	decide := func(id string, yes bool) error {
		return c.store.Update(ctx, func(tx *store.Tx) error { return quotas.Decide(tx, id, yes, c.now()) })
	}
	if err := decide(id, true); err != nil {
		t.Fatal(err)
	}
	if err := decide(id, false); err == nil {
		t.Error("decided twice")
	}
	if got := value(mine, "vpc", vpcs); got != "20" {
		t.Errorf("%s after it was approved", got)
	}
	again, err := ask(mine, 50)
	if err != nil {
		t.Fatal(err)
	}
	if err := decide(again, false); err != nil {
		t.Fatal(err)
	}
	if got := value(mine, "vpc", vpcs); got != "20" {
		t.Errorf("%s after a denial", got)
	}
	history, err := mine.ListRequestedServiceQuotaChangeHistoryByQuota(ctx, &servicequotas.ListRequestedServiceQuotaChangeHistoryByQuotaInput{ServiceCode: aws.String("vpc"), QuotaCode: aws.String(vpcs)})
	if err != nil || len(history.RequestedQuotas) != 2 {
		t.Fatalf("%+v %v", history, err)
	}
	denied, err := mine.ListRequestedServiceQuotaChangeHistory(ctx, &servicequotas.ListRequestedServiceQuotaChangeHistoryInput{Status: types.RequestStatusDenied})
	if err != nil || len(denied.RequestedQuotas) != 1 || *denied.RequestedQuotas[0].Id != again {
		t.Errorf("%+v %v", denied, err)
	}
	for range 120 { // what was decided makes room
		id, err := ask(mine, 21)
		if err == nil {
			err = decide(id, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var kept int
	for range store.QuotaRequests.All(c.store.Snapshot()) {
		kept++
	}
	if kept != 100 {
		t.Errorf("%d requests are kept", kept)
	}

	// A user without leave hears so in the protocol's words, and leave can be for one quota.
	if _, err := iam.NewFromConfig(c.config(key)).CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("eve")}); err != nil {
		t.Fatal(err)
	}
	made, err := iam.NewFromConfig(c.config(key)).CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("eve")})
	if err != nil {
		t.Fatal(err)
	}
	eve := servicequotas.NewFromConfig(c.config(identity.Key{ID: *made.AccessKey.AccessKeyId, Secret: *made.AccessKey.SecretAccessKey}))
	if _, err := eve.ListServices(ctx, nil); code(err) != "AccessDeniedException 400" {
		t.Error(err)
	}
	for resource, want := range map[string]string{vcpus: "AccessDeniedException", vpcs: ""} {
		_, err = iam.NewFromConfig(c.config(key)).PutUserPolicy(ctx, &iam.PutUserPolicyInput{
			UserName: aws.String("eve"), PolicyName: aws.String("more"),
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"servicequotas:RequestServiceQuotaIncrease","Resource":"arn:aws:servicequotas:us-east-1:` + a.ID + `:vpc/` + resource + `","Condition":{"StringEquals":{"servicequotas:service":"vpc"}}}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(eve, 22); errCode(err) != want {
			t.Errorf("%s: %v", resource, err)
		}
	}
}
