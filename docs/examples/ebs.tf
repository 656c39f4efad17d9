# Instances and volumes, for Terraform's AWS provider against Karri: see docs/ebs.md. It wants an EBS-backed image, as
# `karri up --import-root-device ebs` makes them, and a public key.
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
variable "public_key" { type = string }
data "aws_ami" "newest" {
  owners      = ["self"]
  most_recent = true
  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
  filter {
    name   = "name"
    values = ["import-ami-*"]
  }
}
resource "aws_key_pair" "key" {
  key_name   = "terraform"
  public_key = var.public_key
}
resource "aws_instance" "web" {
  ami           = data.aws_ami.newest.id
  instance_type = "t3.nano"
  key_name      = aws_key_pair.key.key_name
  tags          = { Name = "web" }
  root_block_device { volume_size = 2 }
}
resource "aws_ebs_volume" "data" {
  availability_zone = aws_instance.web.availability_zone
  size              = 1
  type              = "gp3"
  tags              = { Name = "data" }
}
resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.web.id
}
resource "aws_ebs_snapshot" "before" {
  volume_id   = aws_ebs_volume.data.id
  description = "before"
}
resource "aws_ebs_volume" "again" {
  availability_zone = aws_instance.web.availability_zone
  snapshot_id       = aws_ebs_snapshot.before.id
  type              = "gp3"
}
resource "aws_ami_from_instance" "mine" {
  name                    = "mine"
  source_instance_id      = aws_instance.web.id
  snapshot_without_reboot = true
}
resource "aws_launch_template" "web" {
  name          = "web"
  image_id      = aws_ami_from_instance.mine.id
  instance_type = "t3.nano"
}
resource "aws_instance" "second" {
  launch_template {
    id      = aws_launch_template.web.id
    version = "$Latest"
  }
}
resource "aws_eip" "web" {
  instance = aws_instance.web.id
  domain   = "vpc"
}
output "address" { value = aws_eip.web.public_ip }
