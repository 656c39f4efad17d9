package iam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func TestOIDCProviders(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	print := strings.Repeat("aB", 20)
	made := must(t)(c.mine.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{
		Url: p("https://IDP.example.com/realms/A"), ClientIDList: []string{"app", "app", "web"}, ThumbprintList: []string{print}, Tags: []types.Tag{{Key: p("k"), Value: p("v")}},
	})).(*sdk.CreateOpenIDConnectProviderOutput)
	arn := made.OpenIDConnectProviderArn
	if *arn != "arn:aws:iam::"+c.account+":oidc-provider/idp.example.com/realms/A" || len(made.Tags) != 1 {
		t.Errorf("%+v", made)
	}
	get := func() *sdk.GetOpenIDConnectProviderOutput {
		return must(t)(c.mine.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})).(*sdk.GetOpenIDConnectProviderOutput)
	}
	if got := get(); *got.Url != "idp.example.com/realms/A" || strings.Join(got.ClientIDList, " ") != "app web" || got.ThumbprintList[0] != strings.ToLower(print) || len(got.Tags) != 1 {
		t.Errorf("%+v", got)
	}
	create := func(url string, clients, prints []string) (any, error) {
		return c.mine.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: &url, ClientIDList: clients, ThumbprintList: prints})
	}
	prints := []string{print}
	refused(t, "EntityAlreadyExists")(create("https://idp.EXAMPLE.com/realms/A", nil, prints))
	must(t)(create("https://idp.example.com/realms/a", nil, prints)) // paths have cases
	for url, want := range map[string]string{
		"http://idp.example.com": "InvalidInput", "https://idp.example.com:8443": "InvalidInput", "https://idp.example.com/?a": "InvalidInput", "idp.example.com": "InvalidInput",
		"https://" + strings.Repeat("a", 250): "ValidationError",
	} {
		refused(t, want)(create(url, nil, prints))
	}
	refused(t, "ValidationError")(create("https://x.example", nil, []string{"abc"}))
	refused(t, "InvalidInput")(create("https://x.example", nil, []string{print, print, print, print, print, print}))
	refused(t, "ValidationError")(create("https://x.example", []string{strings.Repeat("a", 256)}, prints))
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprint("client", i))
	}
	refused(t, "LimitExceeded")(create("https://x.example", many, prints))
	// Nobody is there to show a certificate, and nothing is where a metadata service would be.
	refused(t, "OpenIdIdpCommunicationError")(create("https://localhost", nil, nil))

	add := func(id string) (any, error) {
		return c.mine.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: &id})
	}
	must(t)(add("third"))
	must(t)(add("third"))
	for range 2 {
		must(t)(c.mine.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: p("app")}))
	}
	next := strings.Repeat("0", 40)
	must(t)(c.mine.UpdateOpenIDConnectProviderThumbprint(ctx, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{next}}))
	must(t)(c.mine.TagOpenIDConnectProvider(ctx, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: []types.Tag{{Key: p("K"), Value: p("w")}, {Key: p("a"), Value: p("b")}}}))
	must(t)(c.mine.UntagOpenIDConnectProvider(ctx, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"a"}}))
	tags := must(t)(c.mine.ListOpenIDConnectProviderTags(ctx, &sdk.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn})).(*sdk.ListOpenIDConnectProviderTagsOutput)
	if got := get(); strings.Join(got.ClientIDList, " ") != "web third" || got.ThumbprintList[0] != next || len(tags.Tags) != 1 || *tags.Tags[0].Value != "w" {
		t.Errorf("%+v %+v", got, tags.Tags)
	}
	// Theirs is theirs, and leave is asked for each provider.
	theirs := strings.Replace(*arn, c.account, "999999999999", 1)
	refused(t, "NoSuchEntity")(c.them.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	refused(t, "NoSuchEntity")(c.mine.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &theirs}))
	refused(t, "InvalidInput")(c.mine.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: p("arn:aws:iam::123456789012:role/xxxxx")}))
	must(t)(c.them.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	get()
	eve := c.user("eve")
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("one"), PolicyDocument: aws.String(allow("iam:*OpenIDConnectProvider*", "arn:aws:iam::*:oidc-provider/idp.example.com/*"))}))
	must(t)(eve.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	refused(t, "AccessDenied")(eve.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: p("https://evil.example"), ThumbprintList: prints}))
	must(t)(eve.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: p("https://IDP.example.com/hers"), ThumbprintList: prints}))

	for range 2 {
		must(t)(c.mine.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	}
	list := must(t)(c.mine.ListOpenIDConnectProviders(ctx, &sdk.ListOpenIDConnectProvidersInput{})).(*sdk.ListOpenIDConnectProvidersOutput)
	if len(list.OpenIDConnectProviderList) != 2 {
		t.Errorf("%+v", list.OpenIDConnectProviderList)
	}
	for i := 2; i < 100; i++ {
		must(t)(create(fmt.Sprintf("https://idp%d.example.com", i), nil, prints))
	}
	refused(t, "LimitExceeded")(create("https://one-more.example.com", nil, prints))
}
