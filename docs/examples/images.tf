# A disk image from a file to a launch template, for Terraform's AWS provider against Karri: see docs/images.md. It wants the
# file of a disk (raw), the id of an account to share the image with, and a public key.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  s3_use_path_style           = true
}
variable "disk" { type = string }
variable "public_key" { type = string }
variable "friend" { type = string }
resource "aws_s3_bucket" "disks" {
  bucket        = "terraform-disks"
  force_destroy = true
}
resource "aws_s3_object" "disk" {
  bucket = aws_s3_bucket.disks.id
  key    = "disk.raw"
  source = var.disk
}
# Imports read S3 with this role.
resource "aws_iam_role" "vmimport" {
  name = "vmimport"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vmie.amazonaws.com" }
      Condition = { StringEquals = { "sts:Externalid" = "vmimport" } }
    }]
  })
}
resource "aws_iam_role_policy" "vmimport" {
  role = aws_iam_role.vmimport.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "${aws_s3_bucket.disks.arn}/*" }]
  })
}
resource "aws_ebs_snapshot_import" "disk" {
  role_name = aws_iam_role.vmimport.name
  disk_container {
    format = "RAW"
    user_bucket {
      s3_bucket = aws_s3_bucket.disks.id
      s3_key    = aws_s3_object.disk.key
    }
  }
  tags       = { Name = "disk" }
  depends_on = [aws_iam_role_policy.vmimport]
}
resource "aws_ami" "disk" {
  name                = "from-a-file"
  virtualization_type = "hvm"
  root_device_name    = "/dev/sda1"
  ena_support         = true
  ebs_block_device {
    device_name = "/dev/sda1"
    snapshot_id = aws_ebs_snapshot_import.disk.id
    volume_size = 2
    volume_type = "gp3"
  }
}
resource "aws_ami_copy" "mine" {
  name              = "a-copy"
  source_ami_id     = aws_ami.disk.id
  source_ami_region = "us-east-1"
}
resource "aws_ami_launch_permission" "friend" {
  image_id   = aws_ami.disk.id
  account_id = var.friend
}
data "aws_ami" "copy" {
  owners      = ["self"]
  most_recent = true
  filter {
    name   = "name"
    values = [aws_ami_copy.mine.name]
  }
}
resource "aws_key_pair" "key" {
  key_name   = "images"
  public_key = var.public_key
}
resource "aws_launch_template" "web" {
  name          = "web"
  image_id      = data.aws_ami.copy.id
  instance_type = "t3.nano"
  key_name      = aws_key_pair.key.key_name
  block_device_mappings {
    device_name = "/dev/sda1"
    ebs { volume_size = 3 }
  }
}
resource "aws_instance" "web" {
  launch_template {
    id      = aws_launch_template.web.id
    version = aws_launch_template.web.latest_version
  }
  tags = { Name = "web" }
}
