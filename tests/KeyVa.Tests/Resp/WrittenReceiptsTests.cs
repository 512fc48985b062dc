using KeyVa.Server.Resp;
using Xunit;

namespace KeyVa.Tests.Resp;

/// <summary>What WAIT counts: the newest write of a connection in each partition.</summary>
public sealed class WrittenReceiptsTests
{
    private readonly WrittenReceipts _receipts = new();

    [Fact]
    public void TheFewestReplicasCountOfAllPartitions()
    {
        Assert.Equal(0, _receipts.Certain);
        _receipts.Note(new WriteResult { Receipt = Receipt(1, term: 1, index: 5, replicas: 3) });
        Assert.Equal(2, _receipts.Certain);
        _receipts.Note(new WriteResult { Receipt = Receipt(2, term: 1, index: 9, replicas: 1) });
        Assert.Equal(0, _receipts.Certain);
    }

    [Fact]
    public void TheNewestWriteOfAPartitionCounts()
    {
        _receipts.Note(new WriteResult { Receipt = Receipt(1, term: 1, index: 5, replicas: 2) });
        _receipts.Note(new WriteResult { Receipt = Receipt(1, term: 1, index: 4, replicas: 3) });
        Assert.Equal(1, _receipts.Certain);
        _receipts.Note(new WriteResult { Receipt = Receipt(1, term: 2, index: 3, replicas: 3) });
        Assert.Equal(2, _receipts.Certain);
    }

    [Fact]
    public void ACommitOverPartitionsCountsInEach()
    {
        WriteReceipt first = Receipt(1, term: 1, index: 5, replicas: 3);
        _receipts.Note(new CommitResult { Receipt = first, PartReceipts = [first, Receipt(2, term: 4, index: 7, replicas: 2)] });
        Assert.Equal(1, _receipts.Certain);
        _receipts.Clear();
        _receipts.Note(new WriteResult { Receipt = first, PartReceipts = [first, Receipt(2, term: 4, index: 8, replicas: 1)] });
        Assert.Equal(0, _receipts.Certain);
    }

    private static WriteReceipt Receipt(long partition, long term, long index, byte replicas) =>
        new() { Partition = partition, Term = term, Index = index, Replicas = replicas, Class = AcknowledgementClass.Sync };
}
