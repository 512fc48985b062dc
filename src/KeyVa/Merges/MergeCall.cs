using System.Globalization;
using KeyVa.Partitions;

namespace KeyVa.Merges;

/// <summary>Calls merge functions. Stateless.</summary>
internal static class MergeCall
{
    /// <summary>
    /// Appends what a function makes of its input to a result. Ok; or MergeRefused or TooLarge with the reason in <paramref name="detail"/>, and the result is
    /// as it was.
    /// </summary>
    /// <exception cref="StoreException">The function threw.</exception>
    public static Status Run(MergeFunction function, in MergeInput input, MergeResult result, int limit, out string? detail)
    {
        int offset = result.Length;
        Status status = Status.Ok;
        detail = Call(function, input, result);
        if (detail is not null)
        {
            status = Status.MergeRefused;
            detail = $"{function.Name}: {detail}";
        }
        else if (result.Length - offset > limit)
        {
            status = Status.TooLarge;
            detail = string.Create(CultureInfo.InvariantCulture, $"{function.Name}: the value would come to {result.Length - offset} bytes, more than the limit of {limit} bytes (max-value-bytes)");
        }

        if (status != Status.Ok)
        {
            result.Truncate(offset);
        }

        return status;
    }

    /// <summary>As <see cref="Run"/>, of a stack (see <see cref="MergeStack"/>): each function gets what the one before it has made.</summary>
    /// <exception cref="StoreException">A function is not known, or threw.</exception>
    public static Status RunStack(MergeRegistry registry, ReadOnlySpan<byte> stack, MergeInput input, MergeResult result, int limit, out string? detail)
    {
        int offset = result.Length;
        detail = null;
        while (MergeStack.TryRead(ref stack, out ReadOnlySpan<byte> function, out ReadOnlySpan<byte> operand))
        {
            // The value of before stays where it is until the function is through with it.
            int start = result.Length;
            input = input with { Operand = operand };
            Status status = Run(registry.Resolve(function), input, result, limit, out detail);
            if (status != Status.Ok)
            {
                result.Truncate(offset);
                return status;
            }

            result.MoveDown(start, offset);
            input = new MergeInput { Key = input.Key, Exists = true, Existing = result.Slice(offset, result.Length - offset) };
        }

        return Status.Ok;
    }

    private static string? Call(MergeFunction function, in MergeInput input, MergeResult result)
    {
        try
        {
            return function.Merge(input, result);
        }
        catch (Exception e)
        {
            // Nobody goes on: where it is applied the partition stops. The command is in the log, and only the function knows what it comes to.
            throw new StoreException(
                string.Create(CultureInfo.InvariantCulture, $"the merge function '{function.Name}' version {function.Version} threw {e.GetType().Name}: {e.Message}; mend it and open the store again"), e);
        }
    }
}
