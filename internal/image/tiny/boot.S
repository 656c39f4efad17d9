# The master boot record of the small guest: it loads a Linux kernel and its initial ramdisk with BIOS calls
# and starts it. disk.go writes everything that Linux's boot protocol wants into the kernel's setup sectors
# beforehand, so that all there is to do here is to read three extents and jump.
#
# Real mode memory: this sector at 0x7c00, stack below; setup code at 0x10000; command line at 0x1e000;
# 0x20000–0x2ffff is the window through which sectors go to high memory.
#
# as --32 boot.S -o boot.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary boot.o -o boot.bin

	.intel_syntax noprefix
	.code16
	.globl _start
	.set WINDOW, 127                # sectors per read: the most that every BIOS takes
_start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	cld
	ljmp 0, offset begin
begin:
	mov drive, dl

	mov bx, offset extents
next:	mov eax, [bx+4]                 # sectors left
	test eax, eax
	jz done
	cmp eax, WINDOW
	jbe 1f
	mov eax, WINDOW
1:	mov count, ax
	mov ecx, [bx]
	mov lba, ecx
	add [bx], eax
	sub [bx+4], eax

	mov si, offset packet
	mov dl, drive
	mov ah, 0x42                    # extended read
	int 0x13
	jc fail

	mov eax, [bx+8]                 # destination
	mov gdt_dst+2, eax
	shr eax, 24
	mov gdt_dst+7, al
	mov byte ptr gdt_dst+5, 0x93
	movzx ecx, word ptr count
	shl ecx, 8                      # words
	lea eax, [ecx*2]
	add [bx+8], eax
	mov si, offset gdt
	mov ah, 0x87                    # move to extended memory
	int 0x15
	jc fail
	jmp next
done:	add bx, 12
	cmp bx, offset extents_end
	jb next

	mov ax, 0x1000                  # the setup code's segment
	cli
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov sp, 0xe000
	ljmp 0x1020, 0

fail:	mov si, offset message
1:	lodsb
	test al, al
	jz halt
	push ax
	mov ah, 0x0e                    # to the screen
	mov bx, 7
	int 0x10
	pop ax
	mov ah, 1                       # to the first serial port
	xor dx, dx
	int 0x14
	jmp 1b
halt:	hlt
	jmp halt

message: .asciz "karri-tiny: cannot read the disk\r\n"

packet:	.byte 16, 0
count:	.word 0
	.word 0, 0x2000                 # window, offset and segment
lba:	.long 0, 0

gdt:	.quad 0, 0
	.word 0xffff                    # source: the window
	.word 0
	.byte 2, 0x93, 0, 0
gdt_dst: .word 0xffff
	.word 0
	.byte 0, 0x93, 0, 0
	.quad 0, 0

drive:	.byte 0

	.org 0x180                      # disk.go fills these in: first sector, sectors, destination
extents: .fill 3*12, 1, 0
extents_end:
	.org 0x1b8
