using System.Runtime.InteropServices;
using KeyVa.Engines;
using Xunit;

namespace KeyVa.Tests.Engines;

public sealed unsafe partial class NativePagesTests
{
    private const int Bytes = 1 << 20;

    private static readonly Version PopulatedSince = new(5, 14);

    [Fact]
    public void PopulatingHasAllPagesReadyAndChangesNone()
    {
        byte* pages = NativePages.Map(Bytes, (nuint)Environment.SystemPageSize);
        try
        {
            pages[0] = 1;
            pages[Bytes - 1] = 2;
            bool isKnown = NativePages.Populate(new Span<byte>(pages + 1, Bytes - 2));
            Assert.Equal(Environment.OSVersion.Version >= PopulatedSince, isKnown);
            Assert.Equal(isKnown, IsResident(pages, Bytes));
            Assert.Equal(1, pages[0]);
            Assert.Equal(2, pages[Bytes - 1]);
            Assert.Equal(-1, new ReadOnlySpan<byte>(pages + 1, Bytes - 2).IndexOfAnyExcept((byte)0));
        }
        finally
        {
            NativePages.Unmap(pages, Bytes);
        }
    }

    [Fact]
    public void WhatMallocIsToKeepStaysResidentBehindItsFree()
    {
        Assert.True(NativePages.RetainHeap(4 * Bytes, 32 * Bytes));
        byte* block = (byte*)NativeMemory.Alloc(Bytes);
        new Span<byte>(block, Bytes).Fill(1);
        NativeMemory.Free(block);
        byte* pages = (byte*)(((nint)block + Environment.SystemPageSize - 1) & ~((nint)Environment.SystemPageSize - 1));
        Assert.True(IsResident(pages, Bytes / 2));
    }

    /// <summary>Whether all pages of a piece of memory are there; not if some are not even mapped.</summary>
    private static bool IsResident(byte* pages, int bytes)
    {
        byte[] resident = new byte[bytes / Environment.SystemPageSize];
        fixed (byte* each = resident)
        {
            return AskResident(pages, (nuint)bytes, each) == 0 && Array.TrueForAll(resident, static page => (page & 1) != 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "mincore")]
    private static partial int AskResident(byte* address, nuint length, byte* vector);
}
