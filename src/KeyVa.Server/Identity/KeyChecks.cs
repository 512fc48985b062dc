using Google.Protobuf;
using Google.Protobuf.Collections;
using KeyVa.Io;
using KeyVa.Partitions;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server.Identity;

/// <summary>Finds the keys and ranges of requests and holds them against rights. Stateless.</summary>
internal static class KeyChecks
{
    public static bool All(RepeatedField<ByteString> keys, Level level, Rights rights)
    {
        if (rights.Everywhere >= level)
        {
            return true;
        }

        foreach (ByteString key in keys)
        {
            if (!rights.Allows(level, key.Span))
            {
                return false;
            }
        }

        return true;
    }

    public static bool All(RepeatedField<Wire.Put> puts, Rights rights)
    {
        if (rights.Everywhere >= Level.Write)
        {
            return true;
        }

        foreach (Wire.Put put in puts)
        {
            if (!rights.Allows(Level.Write, put.Key.Span))
            {
                return false;
            }
        }

        return true;
    }

    public static bool All(RepeatedField<Wire.Removal> removals, Rights rights)
    {
        foreach (Wire.Removal removal in removals)
        {
            if (!rights.Allows(Level.Write, removal.Key.Span))
            {
                return false;
            }
        }

        return true;
    }

    public static bool All(RepeatedField<Wire.Operation> operations, Rights rights)
    {
        if (rights.Everywhere >= Level.Write)
        {
            return true;
        }

        foreach (Wire.Operation operation in operations)
        {
            if (!One(operation, rights))
            {
                return false;
            }
        }

        return true;
    }

    public static bool Range(Wire.ScanRequest? scan, Rights rights) => scan is null
        ? rights.Everywhere >= Level.Read
        : rights.AllowsRange(Level.Read, scan.Prefix.Span, scan.From.Span, scan.To.Span);

    public static bool Range(ScanOptions scan, Rights rights) => rights.AllowsRange(Level.Read, scan.Prefix.Span, scan.From.Span, scan.To.Span);

    public static bool Watch(Wire.WatchRequest watch, Rights rights) =>
        watch.Key.IsEmpty ? rights.AllowsRange(Level.Read, watch.Prefix.Span, watch.From.Span, watch.To.Span) : rights.Allows(Level.Read, watch.Key.Span);

    public static bool Watch(WatchOptions watch, Rights rights) =>
        watch.Key.IsEmpty ? rights.AllowsRange(Level.Read, watch.Prefix.Span, watch.From.Span, watch.To.Span) : rights.Allows(Level.Read, watch.Key.Span);

    /// <summary>Rolling back takes the admin level of what it brings back; a partition, that of everything.</summary>
    public static bool Revert(Wire.RevertRequest revert, Rights rights) =>
        !revert.Key.IsEmpty ? rights.Allows(Level.Admin, revert.Key.Span)
        : revert.Partition != 0 ? rights.Everywhere >= Level.Admin
        : rights.AllowsRange(Level.Admin, revert.Prefix.Span, revert.From.Span, revert.To.Span);

    public static bool Transact(Wire.TransactRequest request, Rights rights)
    {
        foreach (Wire.Check check in request.Conditions)
        {
            if (!rights.Allows(Level.Read, check.Key.Span))
            {
                return false;
            }
        }

        return Steps(request.Then, rights) && Steps(request.Otherwise, rights);
    }

    /// <summary>A batch, as it will go to the store.</summary>
    public static bool All(WriteBatch batch, Rights rights)
    {
        if (rights.Everywhere >= Level.Write)
        {
            return true;
        }

        NativeBuffer commands = batch.Commands.Buffer;
        ReadOnlySpan<byte> rest = commands.Written;
        while (!rest.IsEmpty)
        {
            if (!OperationEncoding.TryRead(ref rest, out KeyVa.Partitions.Operation operation))
            {
                // It was encoded here; what cannot be read is not let through.
                return false;
            }

            Level level = operation.IsCheck ? Level.Read : Level.Write;
            if (operation.SpansRange ? !rights.AllowsRange(level, operation.Key, operation.To) : !rights.Allows(level, operation.Key))
            {
                return false;
            }
        }

        return true;
    }

    public static bool All(List<ReadOnlyMemory<byte>> keys, Level level, Rights rights)
    {
        if (rights.Everywhere >= level)
        {
            return true;
        }

        foreach (ReadOnlyMemory<byte> key in keys)
        {
            if (!rights.Allows(level, key.Span))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Steps(RepeatedField<Wire.Step> steps, Rights rights)
    {
        foreach (Wire.Step step in steps)
        {
            if (step.KindCase == Wire.Step.KindOneofCase.Write ? !One(step.Write, rights) : !rights.Allows(Level.Read, step.Get.Span))
            {
                return false;
            }
        }

        return true;
    }

    private static bool One(Wire.Operation operation, Rights rights) => operation.KindCase switch
    {
        Wire.Operation.KindOneofCase.Put => rights.Allows(Level.Write, operation.Put.Key.Span),
        Wire.Operation.KindOneofCase.Remove => rights.Allows(Level.Write, operation.Remove.Key.Span),
        Wire.Operation.KindOneofCase.Merge => rights.Allows(Level.Write, operation.Merge.Key.Span),
        Wire.Operation.KindOneofCase.Check => rights.Allows(Level.Read, operation.Check.Key.Span),
        Wire.Operation.KindOneofCase.RemoveRange => rights.AllowsRange(Level.Write, operation.RemoveRange.Prefix.Span, operation.RemoveRange.From.Span, operation.RemoveRange.To.Span),

        // Nothing at all is refused as such behind this.
        Wire.Operation.KindOneofCase.None => true,
        _ => false,
    };
}
