using System.IO.Pipelines;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Google.Protobuf.Collections;
using KeyVa.Protocol.Grpc;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Records and results of the store as messages of data.proto, for gRPC and REST alike. Stateless.</summary>
internal static class ProtoRecord
{
    /// <summary>The record that a cursor stands on; the bytes are copied.</summary>
    internal static Wire.Record Of(ScanCursor cursor) => new()
    {
        Key = ByteString.CopyFrom(cursor.Key),
        Found = true,
        Value = ByteString.CopyFrom(cursor.Value),
        Version = cursor.Version,
        ModifiedUnixMs = cursor.ModifiedUnixMilliseconds,
        ExpiresAtUnixMs = cursor.ExpiresAtUnixMilliseconds,
    };

    /// <summary>A key with what was read of it; the value is copied, the key is not.</summary>
    internal static Wire.Record Of(ByteString key, in ValueLease lease) => lease.Found
        ? new Wire.Record
        {
            Key = key,
            Found = true,
            Value = ByteString.CopyFrom(lease.Value),
            Version = lease.Version,
            ModifiedUnixMs = lease.ModifiedUnixMilliseconds,
            ExpiresAtUnixMs = lease.ExpiresAtUnixMilliseconds,
        }
        : new Wire.Record { Key = key };

    /// <summary>A key with its record, if there is one; nothing is copied, since the record owns its memory.</summary>
    internal static Wire.Record Of(ReadOnlyMemory<byte> key, Record? record) => record is { } found
        ? new Wire.Record
        {
            Key = UnsafeByteOperations.UnsafeWrap(key),
            Found = true,
            Value = UnsafeByteOperations.UnsafeWrap(found.Value),
            Version = found.Version,
            ModifiedUnixMs = found.ModifiedUnixMilliseconds,
            ExpiresAtUnixMs = found.ExpiresAtUnixMilliseconds,
        }
        : new Wire.Record { Key = UnsafeByteOperations.UnsafeWrap(key) };

    /// <summary>Keys with their records, as they were asked for.</summary>
    internal static Wire.GetResponse Of(List<ReadOnlyMemory<byte>> keys, in MultiReadResult result)
    {
        Wire.GetResponse response = new();
        for (int i = 0; i < keys.Count; i++)
        {
            response.Records.Add(Of(keys[i], result.Records[i]));
        }

        return response;
    }

    /// <summary>A finished batch: for each of its removals whether the key was there, for each merge what it came to.</summary>
    /// <param name="result">What the store said; for a batch of one operation only whether it found its key.</param>
    /// <param name="isRemoval">Which operations are removals; null: none.</param>
    /// <param name="operations">How many operations the batch had.</param>
    internal static Wire.WriteResponse Of(in WriteResult result, Func<int, bool>? isRemoval, int operations)
    {
        Wire.WriteResponse response = new() { Version = result.Version, Receipt = Receipts.ToMessage(result.Receipt) };
        ReadOnlySpan<bool> removed = result.Removed.Span;

        // Before it is applied nobody knows what was there.
        bool isApplied = result.Receipt.Class is not (AcknowledgementClass.Async or AcknowledgementClass.SemiSync);
        for (int i = 0; i < operations && isRemoval is not null && isApplied; i++)
        {
            if (isRemoval(i))
            {
                response.Removed.Add(i < removed.Length ? removed[i] : result.Status == Status.Ok);
            }
        }

        foreach (ReadOnlyMemory<byte> value in result.Merged)
        {
            response.Merged.Add(UnsafeByteOperations.UnsafeWrap(value));
        }

        return response;
    }

    /// <summary>Writes a message into an answer that was started.</summary>
    internal static void WriteTo(IMessage message, PipeWriter output)
    {
        // Protobuf begins with Advance(0), which Kestrel refuses before it was asked for memory.
        _ = output.GetSpan();
        message.WriteTo(new ProtobufOutput(output));
    }

    /// <summary>The keys of a request, as the store wants them.</summary>
    internal static List<ReadOnlyMemory<byte>> Keys(RepeatedField<ByteString> keys)
    {
        List<ReadOnlyMemory<byte>> list = new(keys.Count);
        CollectionsMarshal.SetCount(list, keys.Count);
        Span<ReadOnlyMemory<byte>> span = CollectionsMarshal.AsSpan(list);
        for (int i = 0; i < span.Length; i++)
        {
            span[i] = keys[i].Memory;
        }

        return list;
    }
}
