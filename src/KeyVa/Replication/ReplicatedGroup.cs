using System.Globalization;
using KeyVa.Partitions;

namespace KeyVa.Replication;

/// <summary>Requests of this node's callers that travel through a replicated log together. Owned by whoever drives the partition's log.</summary>
internal sealed class ReplicatedGroup
{
    // A field: completing changes it.
    private WriteGroup _requests;

    public ReplicatedGroup(in WriteGroup requests)
    {
        _requests = requests;
        for (WriteRequest? request = requests.First; request is not null; request = request.Next)
        {
            Count++;
            Bytes += sizeof(uint) + request.Command!.Length;
            HasOperations |= request.Command.Length > 0;
            Format = Math.Max(Format, request.Command.Format);
        }
    }

    /// <summary>When its callers are answered; see <see cref="CommandBuilder.Early"/>. The same for all.</summary>
    public byte Early => First?.Command!.Early ?? 0;

    /// <summary>Its commands.</summary>
    public int Count { get; }

    /// <summary>Bytes of the commands with their lengths.</summary>
    public int Bytes { get; }

    /// <summary>Whether any command does anything; one without operations only brings the log's stamp up to the clock.</summary>
    public bool HasOperations { get; }

    /// <summary>The payload's format.</summary>
    public byte Format { get; } = GroupEntry.Format;

    /// <summary>The first request, the others behind it.</summary>
    public WriteRequest? First => _requests.First;

    /// <summary>
    /// The commands as the payload of a group with a long head (docs/format.md, Commands), behind <paramref name="headroom"/> bytes that are the caller's.
    /// Version and stamp are 0: whoever leads fills them in (<see cref="ReplicatedWriter.Seal"/>).
    /// </summary>
    public byte[] Encode(int headroom)
    {
        byte[] bytes = new byte[headroom + GroupEntry.HeaderBytes + Bytes];
        Span<byte> rest = bytes.AsSpan(headroom);
        GroupEntry.WriteHeader(rest, Format, version: 0, stamp: 0, Count);
        rest = rest[GroupEntry.HeaderBytes..];
        for (WriteRequest? request = First; request is not null; request = request.Next)
        {
            ReadOnlySpan<byte> command = request.Command!.Buffer.Written;
            System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(rest, request.Command.Length);
            request.Command.WriteHead(rest[sizeof(uint)..]);
            command.CopyTo(rest[(sizeof(uint) + request.Command.HeadLength)..]);
            rest = rest[(sizeof(uint) + request.Command.Length)..];
        }

        return bytes;
    }

    /// <summary>Ends all of them with the results that they have.</summary>
    public void Complete() => _requests.Complete();

    /// <summary>Ends all of them before they are applied: they are in the log, from a version on, and as many replicas have them as they asked for.</summary>
    public void CompleteEarly(long version, in WriteReceipt receipt)
    {
        for (WriteRequest? request = First; request is not null; request = request.Next)
        {
            request.Result = new WriteResult { Status = Status.Ok, Version = version++, FailedOperation = -1, Receipt = receipt };
        }

        _requests.Complete();
    }

    /// <summary>Ends all of them after they are applied: so many replicas have them, which are as many as were asked for, or not.</summary>
    public void CompleteCounted(byte replicas, bool isReached)
    {
        for (WriteRequest? request = First; request is not null; request = request.Next)
        {
            WriteReceipt receipt = request.Result.Receipt;
            if (receipt.IsSet)
            {
                request.Result = request.Result with { Receipt = receipt with { Replicas = Math.Max(receipt.Replicas, replicas) } };
                if (!isReached)
                {
                    request.Result = request.Result with
                    {
                        Status = Status.Unknown,
                        Detail = string.Create(CultureInfo.InvariantCulture, $"the write is committed and applied, but only {request.Result.Receipt.Replicas} of the {Early} nodes that were asked for have it on disk after the request timeout; do not write it again"),
                    };
                }
            }
        }

        _requests.Complete();
    }

    /// <summary>Ends all of them with one result.</summary>
    public void Complete(in WriteResult result) => _requests.Complete(result);
}
