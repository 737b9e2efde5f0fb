/* example.c - the smallest program that uses ACCL from C: an allreduce over all ranks.
 *
 *   cc -o example example.c $(pkg-config --cflags --libs accl)
 *   mpirun -np 4 ./example
 *
 * srun and torchrun start it as well; so do two terminals:
 *
 *   ACCL_ROOT=127.0.0.1:29500 ACCL_WORLD_SIZE=2 ACCL_RANK=0 ./example
 *   ACCL_ROOT=127.0.0.1:29500 ACCL_WORLD_SIZE=2 ACCL_RANK=1 ./example
 *
 * Exit status: 0 the sums are right, 1 they are not, 2 something failed (one sentence says what).
 */
#include <stdio.h>
#include <stdlib.h>

#include "accl/accl.h"

enum { count = 1000 };

/* Every call returns a result; the communicator knows the words for it. */
static void check(accl_result_t result, const accl_comm_t* comm) {
  if (result == ACCL_SUCCESS) return;
  fprintf(stderr, "example: %s: %s\n", accl_result_name(result), accl_last_error(comm));
  exit(2);
}

int main(void) {
  static float values[count];
  accl_comm_t* comm = NULL;
  int rank = 0, size = 0, wrong = 0;

  /* Rank, size and where to meet come from whoever started us; NULL takes the defaults. */
  check(accl_comm_create_from_environment(&comm, NULL), NULL);
  check(accl_comm_rank(comm, &rank), comm);
  check(accl_comm_size(comm, &size), comm);

  /* In place: the sums replace what this rank puts in. */
  for (int i = 0; i < count; ++i) values[i] = (float)(rank + i);
  check(accl_allreduce(values, values, count, ACCL_FLOAT32, ACCL_SUM, comm), comm);

  for (int i = 0; i < count; ++i) {
    wrong += values[i] != (float)(size * i + size * (size - 1) / 2);
  }
  printf("rank %d of %d: values[1] is %g, %d of %d sums are wrong\n", rank, size, values[1], wrong,
         count);
  check(accl_comm_destroy(comm), NULL);
  return wrong == 0 ? 0 : 1;
}
