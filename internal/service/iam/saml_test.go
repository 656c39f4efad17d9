package iam_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"karri.dev/internal/saml/samltest"
)

func TestSAMLProviders(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	metadata := samltest.New(t).Metadata()
	create := func(name, text string) (any, error) {
		return c.mine.CreateSAMLProvider(ctx, &sdk.CreateSAMLProviderInput{Name: &name, SAMLMetadataDocument: &text, Tags: []types.Tag{{Key: p("k"), Value: p("v")}}})
	}
	arn := must(t)(create("Acme.IdP_1", metadata)).(*sdk.CreateSAMLProviderOutput).SAMLProviderArn
	if *arn != "arn:aws:iam::"+c.account+":saml-provider/Acme.IdP_1" {
		t.Error(*arn)
	}
	refused(t, "EntityAlreadyExists")(create("acme.idp_1", metadata))
	refused(t, "ValidationError")(create("a/b", metadata))
	refused(t, "ValidationError")(create("small", "<x/>"))
	refused(t, "InvalidInput")(create("wrong", "<x>"+strings.Repeat(" ", 1000)+"</x>"))
	refused(t, "InvalidInput")(create("bomb", `<!DOCTYPE x [<!ENTITY a "aa">]>`+metadata))
	refused(t, "InvalidInput")(c.mine.CreateSAMLProvider(ctx, &sdk.CreateSAMLProviderInput{Name: p("e"), SAMLMetadataDocument: &metadata, AssertionEncryptionMode: types.AssertionEncryptionModeTypeRequired}))
	get := func() *sdk.GetSAMLProviderOutput {
		return must(t)(c.mine.GetSAMLProvider(ctx, &sdk.GetSAMLProviderInput{SAMLProviderArn: arn})).(*sdk.GetSAMLProviderOutput)
	}
	if got := get(); *got.SAMLMetadataDocument != metadata || got.ValidUntil.Year()-got.CreateDate.Year() != 100 || len(got.Tags) != 1 || got.SAMLProviderUUID == nil {
		t.Errorf("%+v", got)
	}
	next := strings.Replace(samltest.New(t).Metadata(), "entityID", `validUntil="2030-01-02T03:04:05Z" entityID`, 1)
	must(t)(c.mine.UpdateSAMLProvider(ctx, &sdk.UpdateSAMLProviderInput{SAMLProviderArn: arn, SAMLMetadataDocument: &next}))
	must(t)(c.mine.TagSAMLProvider(ctx, &sdk.TagSAMLProviderInput{SAMLProviderArn: arn, Tags: []types.Tag{{Key: p("a"), Value: p("b")}}}))
	must(t)(c.mine.UntagSAMLProvider(ctx, &sdk.UntagSAMLProviderInput{SAMLProviderArn: arn, TagKeys: []string{"k"}}))
	tags := must(t)(c.mine.ListSAMLProviderTags(ctx, &sdk.ListSAMLProviderTagsInput{SAMLProviderArn: arn})).(*sdk.ListSAMLProviderTagsOutput)
	list := must(t)(c.mine.ListSAMLProviders(ctx, &sdk.ListSAMLProvidersInput{})).(*sdk.ListSAMLProvidersOutput)
	if got := get(); *got.SAMLMetadataDocument != next || got.ValidUntil.Year() != 2030 || len(tags.Tags) != 1 || *tags.Tags[0].Key != "a" || len(list.SAMLProviderList) != 1 {
		t.Errorf("%+v %+v %+v", got, tags.Tags, list)
	}
	refused(t, "NoSuchEntity")(c.them.GetSAMLProvider(ctx, &sdk.GetSAMLProviderInput{SAMLProviderArn: arn}))
	refused(t, "NoSuchEntity")(c.them.DeleteSAMLProvider(ctx, &sdk.DeleteSAMLProviderInput{SAMLProviderArn: arn}))
	must(t)(c.mine.DeleteSAMLProvider(ctx, &sdk.DeleteSAMLProviderInput{SAMLProviderArn: arn}))
	refused(t, "NoSuchEntity")(c.mine.DeleteSAMLProvider(ctx, &sdk.DeleteSAMLProviderInput{SAMLProviderArn: arn}))
}
