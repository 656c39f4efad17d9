# Users, groups, roles and policies, for Terraform's AWS provider against Karri: see docs/iam.md. It wants a public key (RSA).
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  s3_use_path_style           = true
  default_tags { tags = { Team = "lab" } }
}
variable "public_key" { type = string }
resource "aws_iam_role" "web" {
  name               = "web"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}
resource "aws_iam_policy" "p" {
  name        = "reader"
  path        = "/lab/"
  description = "reads"
  policy      = data.aws_iam_policy_document.p.json
}
data "aws_iam_policy_document" "p" {
  statement {
    actions   = ["s3:Get*", "s3:List*"]
    resources = ["*"]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["home/&{aws:username}/*"]
    }
  }
}
resource "aws_iam_user" "ann" {
  name                 = "ann"
  path                 = "/lab/"
  permissions_boundary = aws_iam_policy.p.arn
  force_destroy        = true
}
resource "aws_iam_access_key" "ann" { user = aws_iam_user.ann.name }
resource "aws_iam_user_login_profile" "ann" {
  user                    = aws_iam_user.ann.name
  password_reset_required = true
}
resource "aws_iam_user_policy" "ann" {
  user   = aws_iam_user.ann.name
  name   = "own"
  policy = data.aws_iam_policy_document.p.json
}
resource "aws_iam_user_policy_attachment" "ann" {
  user       = aws_iam_user.ann.name
  policy_arn = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
}
resource "aws_iam_group" "admins" { name = "Administrators" }
resource "aws_iam_group_policy_attachment" "admins" {
  group      = aws_iam_group.admins.name
  policy_arn = "arn:aws:iam::aws:policy/AdministratorAccess"
}
resource "aws_iam_group_policy" "g" {
  group  = aws_iam_group.admins.name
  name   = "g"
  policy = data.aws_iam_policy_document.p.json
}
resource "aws_iam_group_membership" "m" {
  name  = "m"
  group = aws_iam_group.admins.name
  users = [aws_iam_user.ann.name]
}
resource "aws_iam_instance_profile" "i" {
  name = "web"
  role = aws_iam_role.web.name
}
resource "aws_iam_account_alias" "a" { account_alias = "karri-lab" }
resource "aws_iam_account_password_policy" "pp" {
  minimum_password_length        = 12
  require_symbols                = true
  max_password_age               = 90
  allow_users_to_change_password = true
}
resource "aws_iam_virtual_mfa_device" "v" { virtual_mfa_device_name = "phone" }
resource "aws_iam_openid_connect_provider" "o" {
  url             = "https://token.example.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["cf23df2207d99a74fbe169e3eba035e633b65d94"]
}
resource "aws_iam_user_ssh_key" "k" {
  username   = aws_iam_user.ann.name
  encoding   = "SSH"
  public_key = var.public_key
}
data "aws_iam_principal_policy_simulation" "s" {
  action_names      = ["s3:GetObject", "ec2:RunInstances"]
  policy_source_arn = aws_iam_user.ann.arn
  depends_on        = [aws_iam_user_policy.ann]
}
output "simulated" { value = data.aws_iam_principal_policy_simulation.s.all_allowed }
data "aws_iam_roles" "all" { depends_on = [aws_iam_role.web] }
data "aws_iam_users" "all" { depends_on = [aws_iam_user.ann] }
output "roles" { value = length(data.aws_iam_roles.all.names) }
data "aws_servicequotas_service_quota" "q" {
  service_code = "vpc"
  quota_code   = "L-F678F1CE"
}
